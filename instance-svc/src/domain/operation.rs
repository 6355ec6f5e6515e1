//! Operations: an envelope that is the same for every kind, and the work of one kind.
//!
//! A transition is one write with the document's revision: the winner of that write owns the next step. The
//! decision about the next step is a pure function ([`Operation::decide`]) and independent of the kind;
//! [`Work`] provides what it needs to know of the kind.

mod transitions;

use std::{
    fmt,
    ops::{Deref, DerefMut},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

pub use self::transitions::{Cancelling, Next};
use super::{location::DatabaseLocation, sealed::Sealed, time::Time};

/// What the decisions on the envelope need to know of the work. All methods are pure.
pub trait Work:
    Clone + fmt::Debug + PartialEq + Serialize + DeserializeOwned + Send + Sync + 'static
{
    /// The stored name of the kind.
    fn registered_name(&self) -> &'static str;

    /// The name of the kind in the contract.
    fn kind(&self) -> &'static str;

    /// The step at a position, counted from 0; `None` after the last one.
    fn step(&self, position: usize) -> Option<StepFacts>;

    /// How many of the first steps can be undone. Once the step after them is next, the operation only goes
    /// forward. An operation whose first step has failed has not begun, and can always be given up.
    fn reversible_steps(&self) -> usize;

    /// Why a running operation cannot be cancelled; `None` when it can. `irreversible` says whether it has
    /// passed the point of no return.
    fn refuses_cancel(&self, irreversible: bool) -> Option<&'static str>;

    /// Whether to record how long each step took.
    fn is_traced(&self) -> bool;
}

/// What the decisions on the envelope need to know of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepFacts {
    /// Its name in the contract.
    pub name: &'static str,
    /// Whether it has an undo.
    pub is_undone: bool,
    /// Whether the operation is written before this step. A step that is cheap to repeat needs no write.
    pub is_written_before: bool,
    /// Whether it changes nothing. It may then begin while the write before it is still in progress.
    pub only_looks: bool,
    /// Whether it is abandoned when the operation is cancelled; otherwise its end is awaited. The effects of an
    /// abandoned call are unknown, so this is worth it for slow steps only.
    pub is_abandoned_on_cancel: bool,
}

/// One operation, in `global/hamlet-operations`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(bound = "W: Work")]
pub struct Operation<W> {
    /// The part that is the same for every kind.
    #[serde(flatten)]
    pub envelope: Envelope,
    /// What the operation does, and its results so far.
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

/// An operation without its work.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Envelope {
    /// The id of the instance's document.
    pub instance: String,
    /// The instance's main domain.
    pub domain: String,
    /// The prefix of its databases.
    pub prefix: String,
    /// The position of the CouchDB server of its databases.
    #[serde(default)]
    pub couch_cluster: i64,
    /// The HMAC of the arguments, in hex. It detects a request id that is used again with other arguments.
    pub arguments_mac: String,
    /// The phase.
    pub phase: Phase,
    /// The step to do next or, while unwinding, one more than the step to undo next.
    pub step: usize,
    /// How many of its steps may have run when it began to unwind; 0 before, and in documents that do not say so.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub reached: usize,
    /// How often the current step has failed in a row.
    #[serde(default)]
    pub attempt: u32,
    /// When the next try is due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_try: Option<Time>,
    /// Why the last try, or the whole operation, failed; in words for the caller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<OperationFailure>,
    /// The replica that drives it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Counts the owner's signs of life, so that each changes the revision.
    #[serde(default)]
    pub beat: u64,
    /// Whether a previous owner has driven it. What that owner did beyond the written state is unknown.
    #[serde(default)]
    pub taken_over: bool,
    /// Whether its cancellation was requested. This is a mark: a caller sets it, and the owner applies it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cancel_requested: bool,
    /// Whether the next try was requested at once. This is also a mark.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub retry_requested: bool,
    /// Whether it has passed the point of no return. It then only goes forward, even if it resumes at an
    /// earlier step.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub irreversible: bool,
    /// Whether it needs attention: it has not ended, or is to be looked at once more.
    pub open: bool,
    /// When the ended operation is to be looked at once more, or its follow-up work is due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub look_again: Option<Time>,
    /// The secret values that it has to write, encrypted. Removed when it ends or begins to unwind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed: Option<Sealed>,
    /// Warnings for the administrator.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// The trace of the request that started it, in the format of the W3C header of this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// How long each finished step took, in milliseconds, if that was requested.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub durations: Vec<(String, u64)>,
    /// When it was accepted.
    pub created_at: Time,
    /// When it last changed.
    pub updated_at: Time,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Time>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
const fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// The phase of an operation.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// It waits for a turn.
    Queued,
    /// It is doing its steps.
    Running,
    /// It is undoing its steps.
    Unwinding,
    /// It has ended, and did what was requested.
    Succeeded,
    /// It has ended, and everything that it made was removed.
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
    /// The gRPC status code.
    pub code: i32,
    /// A stable reason for programs, such as `NAME_TAKEN`.
    pub reason: String,
    /// What is wrong, and what to do.
    pub message: String,
}

impl Envelope {
    /// The envelope of a new operation on an instance, accepted at `now`. Fields that are not known yet are
    /// empty.
    #[must_use]
    pub fn new(subject: Subject, arguments_mac: String, now: Time) -> Self {
        Self {
            instance: subject.instance,
            domain: subject.domain,
            prefix: subject.prefix,
            couch_cluster: subject.couch_cluster,
            arguments_mac,
            phase: Phase::Queued,
            step: 0,
            reached: 0,
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
            created_at: now,
            updated_at: now,
            ended_at: None,
        }
    }

    /// Where the databases of the instance lie.
    #[must_use]
    pub fn location(&self) -> DatabaseLocation<'_> {
        DatabaseLocation {
            couch_cluster: self.couch_cluster,
            prefix: &self.prefix,
        }
    }
}

/// The instance that an operation is about. All fields are empty when there is none.
#[derive(Clone, Debug, Default)]
pub struct Subject {
    /// The id of the instance's document.
    pub instance: String,
    /// The main domain.
    pub domain: String,
    /// The prefix of its databases.
    pub prefix: String,
    /// The position of the CouchDB server of its databases.
    pub couch_cluster: i64,
}

impl<W: Work> Operation<W> {
    /// The name of its kind in the contract.
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
