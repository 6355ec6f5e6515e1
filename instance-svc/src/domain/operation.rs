//! The document of an operation, and what follows from it.
//!
//! A transition is one write with the document's revision: who wins that write owns the next step.
//! Deciding is pure ([`Operation::decide`]); doing is the business of `operations`.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

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

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Do this step.
    Do(Step),
    /// Undo this step.
    Undo(Step),
    /// Write down that it did what was asked.
    Succeed,
    /// Write down that it could not, and that nothing is left.
    Fail,
    /// Nothing: it has ended.
    Rest,
}

/// What a request to cancel came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancelling {
    /// It had not begun, and has ended.
    Ended,
    /// It is marked, and its owner takes it back.
    Marked,
    /// It is on its way back already, or was cancelled before.
    Already,
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

    /// Why it cannot be cancelled (any more); `None` when it can, or is on its way back already.
    #[must_use]
    pub const fn refuses_cancel(&self) -> Option<&'static str> {
        match (self.phase, &self.work) {
            (Phase::Succeeded | Phase::Failed, _) => Some("it has ended"),
            (Phase::Queued | Phase::Unwinding, _) => None,
            (Phase::Running, Work::Destroy { .. }) => {
                Some("a destruction only goes forward, so that nothing is left half-gone")
            }
            (Phase::Running, Work::Create { .. }) if self.irreversible => {
                Some("the instance is being published; destroy it once it exists")
            }
            (Phase::Running, Work::Change { .. }) if self.irreversible => {
                Some("the change is being written; change it back once it has ended")
            }
            (Phase::Running, Work::Create { .. } | Work::Change { .. } | Work::PurgeOrphans) => {
                None
            }
        }
    }

    /// Asks for it to be cancelled. One that has not begun ends at once; one that runs is marked, and its
    /// owner takes back what was made.
    ///
    /// # Errors
    /// Why it cannot be cancelled any more.
    pub fn request_cancel(&mut self, now: String) -> Result<Cancelling, &'static str> {
        if self.phase == Phase::Failed && self.cancel_requested {
            return Ok(Cancelling::Already);
        }
        if let Some(why) = self.refuses_cancel() {
            return Err(why);
        }
        if self.cancel_requested || self.phase == Phase::Unwinding {
            return Ok(Cancelling::Already);
        }
        self.cancel_requested = true;
        if self.phase != Phase::Queued {
            return Ok(Cancelling::Marked);
        }
        self.phase = Phase::Failed;
        self.error = Some(cancelled());
        self.open = false;
        self.ended_at = Some(now.clone());
        self.updated_at = now;
        Ok(Cancelling::Ended)
    }

    /// Heeds the marks on `written`, the operation as it stands in the database: it turns back, or tries
    /// again at once.
    ///
    /// Whether it may still be cancelled is decided by what is written down, not by how far the owner is:
    /// so the write of the point of no return decides between cancelling and publishing.
    pub fn heed_marks_of(&mut self, written: &Self) {
        self.retry_requested = false;
        if written.retry_requested {
            self.next_try = None;
        }
        self.cancel_requested |= written.cancel_requested;
        if self.cancel_requested && self.phase == Phase::Running && !written.irreversible {
            // The owner may have done the last reversible step, and not have written that down.
            self.irreversible = false;
            self.step = self.step.min(self.point_of_no_return().saturating_sub(1));
            self.turn_back(cancelled());
        }
    }

    /// A replica takes an operation that nobody owns any more. Whoever had it may have done more than was
    /// written down; what that one waited for is tried at once.
    pub fn take_over(&mut self, replica: String) {
        self.taken_over |= self.phase != Phase::Queued;
        if self.phase == Phase::Queued {
            self.phase = Phase::Running;
        }
        self.owner = Some(replica);
        self.beat += 1;
        self.next_try = None;
        let written = self.clone();
        self.heed_marks_of(&written);
    }

    /// What to do next. Pure: it looks at nothing but the document.
    #[must_use]
    pub fn decide(&self) -> Next {
        match self.phase {
            Phase::Succeeded | Phase::Failed => Next::Rest,
            Phase::Queued | Phase::Running => self
                .steps()
                .get(self.step)
                .map_or(Next::Succeed, |&step| Next::Do(step)),
            Phase::Unwinding => self
                .step
                .checked_sub(1)
                .and_then(|before| self.steps().get(before))
                .map_or(Next::Fail, |&step| Next::Undo(step)),
        }
    }

    /// The step that [`Self::decide`] named is done.
    ///
    /// Returns whether this has to be written down before going on: it has where doing the next step
    /// twice would cost much, or where the way back ends.
    pub fn advance(&mut self) -> bool {
        self.attempt = 0;
        self.next_try = None;
        match self.phase {
            Phase::Queued | Phase::Running => {
                self.step += 1;
                self.irreversible |= self.step >= self.point_of_no_return();
                self.error = None;
                self.steps()
                    .get(self.step)
                    .is_some_and(|step| step.is_written_down_before(self))
            }
            Phase::Unwinding => {
                self.step = self.step.saturating_sub(1);
                false
            }
            Phase::Succeeded | Phase::Failed => false,
        }
    }

    /// A step cannot be done, now or ever: the way back begins, from the last step that may have left
    /// something. Only before the point of no return; `false` after it. A destruction turns back from its
    /// first step alone, which fails only where it has done nothing.
    pub fn turn_back(&mut self, why: Failure) -> bool {
        if self.irreversible || self.phase.is_end() {
            return false;
        }
        if self.phase != Phase::Unwinding {
            self.phase = Phase::Unwinding;
            // The failed step itself may have done half of its work; what an owner before did is not
            // known beyond what was written down, so all steps up to the point of no return are undone.
            self.step = match self.work {
                Work::Destroy { .. } | Work::PurgeOrphans => 0,
                Work::Create { .. } if self.taken_over => CreateStep::POINT_OF_NO_RETURN,
                Work::Change { .. } if self.taken_over => ChangeStep::POINT_OF_NO_RETURN,
                Work::Create { .. } | Work::Change { .. } => {
                    (self.step + 1).min(self.point_of_no_return())
                }
            };
            self.attempt = 0;
            self.next_try = None;
        }
        self.error = Some(why);
        self.sealed = None;
        true
    }
}

fn cancelled() -> Failure {
    Failure {
        // google.rpc.Code.CANCELLED
        code: 1,
        reason: "CANCELLED".to_owned(),
        message: "somebody cancelled it; nothing of it is left".to_owned(),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::{Cancelling, CreateStep, Failure, Next, Operation, Phase, Spec, Work};

    pub(crate) fn creation() -> Operation {
        Operation {
            work: Work::Create {
                spec: Box::new(Spec::default()),
            },
            instance: "i".to_owned(),
            domain: "a.example".to_owned(),
            prefix: "cozya".to_owned(),
            phase: Phase::Running,
            ..Operation::new(String::new(), String::new())
        }
    }

    const fn destruction() -> Work {
        Work::Destroy {
            etag: String::new(),
            due: None,
        }
    }

    /// A creation whose next step is this one.
    fn creation_at(step: usize) -> Operation {
        let mut operation = creation();
        for _ in 0..step {
            operation.advance();
        }
        operation
    }

    fn why() -> Failure {
        Failure {
            code: 6,
            reason: "NAME_TAKEN".to_owned(),
            message: String::new(),
        }
    }

    proptest! {
        /// Wherever a creation turns back, every step before is undone, the last one first.
        #[test]
        fn the_way_back_undoes_what_was_done(at in 0..CreateStep::ALL.len(), taken_over: bool) {
            let mut operation = creation_at(at);
            operation.taken_over = taken_over;
            let turned = operation.turn_back(why());
            prop_assert_eq!(turned, at < CreateStep::POINT_OF_NO_RETURN);
            if !turned {
                return Ok(());
            }
            let mut undone = Vec::new();
            while let Next::Undo(step) = operation.decide() {
                undone.push(step);
                operation.advance();
            }
            prop_assert_eq!(operation.decide(), Next::Fail);
            for done in CreateStep::ALL.iter().take(at + 1) {
                prop_assert!(undone.contains(done), "{:?} was not undone", done);
            }
            let mut sorted = undone.clone();
            sorted.sort_by_key(|step| CreateStep::ALL.iter().position(|other| other == step));
            sorted.reverse();
            prop_assert_eq!(undone, sorted);
        }
    }

    proptest! {
        /// What is written down decides: before the point of no return a mark turns the owner back,
        /// however far it is; a mark that came too late could not be set.
        #[test]
        fn a_mark_turns_back_what_was_not_written_as_final(
            written_at in 0..CreateStep::ALL.len(),
            ahead in 0_usize..3,
        ) {
            let mut written = creation_at(written_at);
            let mut owners =
                creation_at((written_at + ahead).min(CreateStep::POINT_OF_NO_RETURN).max(written_at));
            let asked = written.request_cancel(String::new());
            prop_assert_eq!(asked.is_ok(), written_at < CreateStep::POINT_OF_NO_RETURN);
            owners.heed_marks_of(&written);
            prop_assert_eq!(owners.phase == Phase::Unwinding, asked.is_ok());
            if asked.is_ok() {
                prop_assert_eq!(asked, Ok(Cancelling::Marked));
                prop_assert!(owners.step > written_at && owners.step <= CreateStep::POINT_OF_NO_RETURN);
                prop_assert_eq!(written.request_cancel(String::new()), Ok(Cancelling::Already));
            }
        }
    }

    #[test]
    fn one_that_waits_in_line_is_cancelled_at_once() {
        let mut operation = creation();
        operation.phase = Phase::Queued;
        assert_eq!(
            operation.request_cancel("now".to_owned()),
            Ok(Cancelling::Ended)
        );
        assert_eq!(operation.decide(), Next::Rest);
        assert_eq!(operation.phase, Phase::Failed);
        assert!(!operation.open);
        // Asking again is no error: a lost answer may be the reason.
        assert_eq!(
            operation.request_cancel("later".to_owned()),
            Ok(Cancelling::Already)
        );
    }

    #[test]
    fn a_destruction_cannot_be_cancelled() {
        let mut operation = creation();
        operation.work = destruction();
        assert!(operation.request_cancel(String::new()).is_err());
        assert!(!operation.cancel_requested);
    }

    #[test]
    fn a_destruction_that_has_begun_never_turns_back() {
        let mut operation = creation();
        operation.work = destruction();
        operation.advance();
        assert!(!operation.turn_back(why()));
        assert_eq!(operation.phase, Phase::Running);
    }

    #[test]
    fn a_destruction_that_could_not_begin_has_nothing_to_undo() {
        let mut operation = creation();
        operation.work = destruction();
        assert!(operation.turn_back(why()));
        assert_eq!(operation.decide(), Next::Fail);
    }
}
