//! The document of an operation, and what follows from it.
//!
//! A transition is one write with the document's revision: who wins that write owns the next step.
//! Deciding is pure ([`Operation::decide`]); doing is the business of `operations`.

mod transitions;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use self::transitions::{Cancelling, Next};
use super::{
    change::Change,
    instance::InstanceDocument,
    place::Place,
    sealed::Sealed,
    spec::Spec,
    steps::{ChangeStep, CreateStep, DestroyStep, OrphanStep, Step},
};

/// One operation, in `global/hamlet-operations`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Operation {
    /// What it does.
    #[serde(flatten)]
    pub work: Work,
    /// The id of the instance's document.
    pub instance: String,
    /// The instance's main domain.
    pub domain: String,
    /// The prefix of its databases.
    pub prefix: String,
    /// The position of the CouchDB server on which they lie.
    #[serde(default)]
    pub couch_cluster: i64,
    /// The HMAC of the arguments, in hex: the same request id with others is refused.
    pub arguments_mac: String,
    /// How far it is.
    pub phase: Phase,
    /// The step that comes next (or, unwinding, that is undone next).
    pub step: usize,
    /// How often that step has failed in a row.
    #[serde(default)]
    pub attempt: u32,
    /// Until when to wait before the next try, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_try: Option<String>,
    /// Why the last try failed, or why the operation did, in words for the caller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
    /// The replica that drives it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Counts the owner's signs of life, so that each changes the revision.
    #[serde(default)]
    pub beat: u64,
    /// Whether it was driven by another owner before: what that one did is not known.
    #[serde(default)]
    pub taken_over: bool,
    /// Whether somebody asked for it to be cancelled. A mark: whoever asks sets it, the owner heeds it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cancel_requested: bool,
    /// Whether somebody asked for the next try at once. A mark, too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub retry_requested: bool,
    /// Whether the point of no return lies behind it: it only goes forward, whatever step it goes back to.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub irreversible: bool,
    /// Whether somebody still has to look at it: it runs, or it is to be looked at once more.
    pub open: bool,
    /// When to look once more at what was unwound, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub look_again: Option<String>,
    /// The ids of the claims that it makes or gives back, in the order of making.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// Each database of a creation with the number of documents that it must hold at least.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub databases: Vec<(String, u64)>,
    /// What became of each app of a creation, in the order asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub apps: Vec<AppOutcome>,
    /// What a destruction removed.
    #[serde(default)]
    pub removed: Removed,
    /// What it has to write that nobody else may read. It is gone with the operation's end, and when it
    /// turns back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed: Option<Sealed>,
    /// What the last look of a destruction still found.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub leftovers: Vec<String>,
    /// What an administrator should know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// The trace of the request that asked for it, as the W3C's header of this name has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// How long each finished step took, in milliseconds, when a trace was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub durations: Vec<(String, u64)>,
    /// When it was accepted, RFC 3339.
    pub created_at: String,
    /// When it last changed, RFC 3339.
    pub updated_at: String,
    /// When it ended, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<String>,
    /// The instance that it published just now, so that answering costs no reading. It holds secrets and is
    /// never written down here.
    #[serde(skip)]
    pub published: Option<Published>,
}

/// The document of an instance, on its way to an answer.
#[derive(Clone, Debug)]
pub struct Published(pub Arc<InstanceDocument>);

/// No part of what an operation is: two states that differ by this alone are the same.
impl PartialEq for Published {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// What an operation does.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Work {
    /// Makes an instance.
    Create {
        /// What was asked.
        spec: Box<Spec>,
    },
    /// Destroys one.
    Destroy {
        /// What the instance has to be still; empty when that does not matter.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        etag: String,
        /// Of a destruction that begins by itself, after a soft deletion: the time for which it was due.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        due: Option<String>,
    },
    /// Changes one.
    Change {
        /// What was asked.
        change: Box<Change>,
    },
    /// Removes what belongs to no instance.
    PurgeOrphans,
}

/// How far an operation is.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// It waits for its turn.
    Queued,
    /// It goes forward.
    Running,
    /// It takes back what it made.
    Unwinding,
    /// It did what was asked.
    Succeeded,
    /// It could not, and nothing of it is left.
    Failed,
}

impl Phase {
    /// Whether it has ended.
    #[must_use]
    pub const fn is_end(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed)
    }
}

/// Why an operation failed, in words for the caller.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// A gRPC status code.
    pub code: i32,
    /// A reason that programs can rely on, such as `NAME_TAKEN`.
    pub reason: String,
    /// What is wrong, and what to do.
    pub message: String,
}

/// What became of one app.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub struct AppOutcome {
    /// What was asked for.
    pub source: String,
    /// The slug, when it could be told.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub slug: String,
    /// The version that was installed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// Why it was not.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub error: String,
}

/// What a destruction removed, by kind.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub struct Removed {
    /// Objects of the content stores.
    #[serde(default)]
    pub objects: u64,
    /// Databases.
    #[serde(default)]
    pub databases: u64,
    /// Documents of `global/…`.
    #[serde(default)]
    pub documents: u64,
    /// Claims.
    #[serde(default)]
    pub claims: u64,
}

impl Operation {
    /// One about which no more is known yet than the HMAC of its arguments and when it is accepted,
    /// RFC 3339.
    #[must_use]
    pub fn new(arguments_mac: String, now: String) -> Self {
        Self {
            work: Work::Destroy {
                etag: String::new(),
                due: None,
            },
            instance: String::new(),
            domain: String::new(),
            prefix: String::new(),
            couch_cluster: 0,
            arguments_mac,
            phase: Phase::Queued,
            step: 0,
            attempt: 0,
            next_try: None,
            error: None,
            owner: None,
            beat: 0,
            taken_over: false,
            irreversible: false,
            cancel_requested: false,
            retry_requested: false,
            open: true,
            look_again: None,
            names: Vec::new(),
            databases: Vec::new(),
            apps: Vec::new(),
            removed: Removed::default(),
            sealed: None,
            leftovers: Vec::new(),
            warnings: Vec::new(),
            traceparent: None,
            durations: Vec::new(),
            created_at: now.clone(),
            updated_at: now,
            ended_at: None,
            published: None,
        }
    }

    /// Its steps, in order.
    #[must_use]
    pub const fn steps(&self) -> &'static [Step] {
        match self.work {
            Work::Create { .. } => CreateStep::ALL,
            Work::Destroy { .. } => DestroyStep::ALL,
            Work::Change { .. } => ChangeStep::ALL,
            Work::PurgeOrphans => OrphanStep::ALL,
        }
    }

    /// Its kind, as callers see it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match &self.work {
            Work::Create { .. } => "create",
            Work::Destroy { .. } => "destroy",
            Work::Change { change } => change.kind.name(),
            Work::PurgeOrphans => "orphans",
        }
    }

    /// What was asked of a creation.
    #[must_use]
    pub const fn spec(&self) -> Option<&Spec> {
        match &self.work {
            Work::Create { spec } => Some(spec),
            Work::Destroy { .. } | Work::Change { .. } | Work::PurgeOrphans => None,
        }
    }

    /// What was asked of a change.
    #[must_use]
    pub const fn change(&self) -> Option<&Change> {
        match &self.work {
            Work::Change { change } => Some(change),
            Work::Create { .. } | Work::Destroy { .. } | Work::PurgeOrphans => None,
        }
    }

    /// Where the databases of the instance lie.
    #[must_use]
    pub fn place(&self) -> Place<'_> {
        Place {
            couch_cluster: self.couch_cluster,
            prefix: &self.prefix,
        }
    }

    /// How many of its first steps can be taken back. Once the one after them is written down as the next,
    /// the operation only goes forward.
    #[must_use]
    pub const fn point_of_no_return(&self) -> usize {
        match self.work {
            Work::Create { .. } => CreateStep::POINT_OF_NO_RETURN,
            // Its first step takes the instance; before that, nothing is done.
            Work::Destroy { .. } => 1,
            Work::Change { .. } => ChangeStep::POINT_OF_NO_RETURN,
            // What was removed belonged to nobody: it may stop anywhere.
            Work::PurgeOrphans => OrphanStep::ALL.len(),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
