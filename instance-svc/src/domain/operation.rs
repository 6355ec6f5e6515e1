//! An operation: an envelope that is the same for every kind, and the work of one kind.
//!
//! A transition is one write with the document's revision: who wins that write owns the next step.
//! Deciding is pure ([`Operation::decide`]) and knows no kind: what it needs of one, [`Work`] tells.

mod transitions;

use std::{
    fmt,
    ops::{Deref, DerefMut},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

pub use self::transitions::{Cancelling, Next};
use super::{place::Place, sealed::Sealed};

/// What the envelope's decisions have to know of the work of a kind. Pure.
pub trait Work:
    Clone + fmt::Debug + PartialEq + Serialize + DeserializeOwned + Send + Sync + 'static
{
    /// The name under which the kind is written down.
    fn registered_name(&self) -> &'static str;

    /// The name of the kind, as callers see it.
    fn kind(&self) -> &'static str;

    /// The step at a position, counted from 0; `None` after the last one.
    fn step(&self, position: usize) -> Option<StepFacts>;

    /// How many of the first steps can be taken back once they are done. Once the one after them is next, the
    /// operation only goes forward. One whose first step fails has not begun, and can always be given up.
    fn reversible_steps(&self) -> usize;

    /// Why one that runs cannot be cancelled; `None` when it can. `irreversible` tells whether the point of
    /// no return lies behind it.
    fn refuses_cancel(&self, irreversible: bool) -> Option<&'static str>;

    /// Whether to keep how long each step took.
    fn is_traced(&self) -> bool;
}

/// A step, as far as the envelope's decisions have to know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepFacts {
    /// Its name, as callers see it.
    pub name: &'static str,
    /// Whether there is something to undo.
    pub is_undone: bool,
    /// Whether the operation is written before it begins. A step that is cheap to do twice needs no write.
    pub is_written_before: bool,
    /// Whether it only looks: it may begin while the write before it is still on its way.
    pub only_looks: bool,
    /// Whether it is given up when the operation is cancelled; otherwise its end is awaited. What a call
    /// that was given up still does is not known, so that only a slow step is worth it.
    pub may_be_broken_off: bool,
}

/// One operation, in `global/hamlet-operations`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(bound = "W: Work")]
pub struct Operation<W> {
    /// What is the same for every kind.
    #[serde(flatten)]
    pub envelope: Envelope,
    /// What it does, and what came of that so far.
    #[serde(flatten)]
    pub work: W,
}

impl<W> Deref for Operation<W> {
    type Target = Envelope;

    fn deref(&self) -> &Envelope {
        &self.envelope
    }
}

impl<W> DerefMut for Operation<W> {
    fn deref_mut(&mut self) -> &mut Envelope {
        &mut self.envelope
    }
}

/// What an operation is apart from its work.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Envelope {
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
    pub error: Option<OperationFailure>,
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
    /// What it has to write that nobody else may read. It is gone with the operation's end, and when it
    /// turns back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed: Option<Sealed>,
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
pub struct OperationFailure {
    /// A gRPC status code.
    pub code: i32,
    /// A reason that programs can rely on, such as `NAME_TAKEN`.
    pub reason: String,
    /// What is wrong, and what to do.
    pub message: String,
}

impl Envelope {
    /// The envelope of an operation that is about to be accepted at `now`, RFC 3339, for an instance. What
    /// is not known yet is empty.
    #[must_use]
    pub fn new(subject: Subject, arguments_mac: String, now: String) -> Self {
        Self {
            instance: subject.instance,
            domain: subject.domain,
            prefix: subject.prefix,
            couch_cluster: subject.couch_cluster,
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
            sealed: None,
            warnings: Vec::new(),
            traceparent: None,
            durations: Vec::new(),
            created_at: now.clone(),
            updated_at: now,
            ended_at: None,
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
}

/// The instance that an operation is about; all of it is empty when it is about none.
#[derive(Clone, Debug, Default)]
pub struct Subject {
    /// The id of the instance's document.
    pub instance: String,
    /// The main domain.
    pub domain: String,
    /// The prefix of its databases.
    pub prefix: String,
    /// The position of the CouchDB server on which they lie.
    pub couch_cluster: i64,
}

impl<W: Work> Operation<W> {
    /// Its kind, as callers see it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        self.work.kind()
    }

    /// Its steps, in order.
    pub fn steps(&self) -> impl Iterator<Item = StepFacts> {
        (0..).map_while(|position| self.work.step(position))
    }
}

#[cfg(test)]
pub(crate) mod tests;
