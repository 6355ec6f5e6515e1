//! Transitions of an operation: what to do next, and the effect of a step that is done or fails, of a
//! cancellation and of a takeover. All functions are pure.

use super::{Operation, OperationFailure, Phase, Work};
use crate::domain::time::Time;

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Do the step at this position.
    Do(usize),
    /// Undo the step at this position.
    Undo(usize),
    /// Write the end of a successful operation.
    Succeed,
    /// Write the end of a failed operation; nothing of it is left.
    Fail,
    /// Nothing: it has ended.
    Rest,
}

/// The effect of a request to cancel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancelling {
    /// It had not begun, and ended at once.
    Ended,
    /// It was marked, and its owner will undo it.
    Marked,
    /// It is unwinding or was cancelled already.
    Already,
}

impl<W: Work> Operation<W> {
    /// Why it cannot be cancelled (any more); `None` when it can, or is unwinding already.
    #[must_use]
    pub fn refuses_cancel(&self) -> Option<&'static str> {
        match self.phase {
            Phase::Succeeded | Phase::Failed => Some("it has ended"),
            Phase::Queued | Phase::Unwinding => None,
            Phase::Running => self.work.refuses_cancel(self.irreversible),
        }
    }

    /// Requests the cancellation. An operation that has not begun ends at once. A running one is marked, and
    /// its owner undoes what was made.
    ///
    /// # Errors
    /// The reason why it cannot be cancelled any more.
    pub fn request_cancel(&mut self, now: Time) -> Result<Cancelling, &'static str> {
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
        self.ended_at = Some(now);
        self.updated_at = now;
        Ok(Cancelling::Ended)
    }

    /// Applies the marks on `written`, the operation as stored in the database: it begins to unwind, or tries
    /// again at once.
    ///
    /// Whether it can still be cancelled depends on the stored state, not on the owner's progress. So the write
    /// of the point of no return decides between cancelling and publishing.
    pub fn apply_marks_of(&mut self, written: &Self) {
        self.retry_requested = false;
        if written.retry_requested {
            self.next_try = None;
        }
        self.cancel_requested |= written.cancel_requested;
        if self.cancel_requested
            && self.phase == Phase::Running
            && written.work.refuses_cancel(written.irreversible).is_none()
        {
            // The owner may have done the last reversible step without having written that.
            self.irreversible = false;
            self.step = self
                .step
                .min(self.work.reversible_steps().saturating_sub(1));
            self.unwind(cancelled());
        }
    }

    /// Takes an operation without an owner for `replica`. The previous owner may have done more than was
    /// written. A pending pause is skipped.
    pub fn take_over(&mut self, replica: String) {
        self.taken_over |= self.phase != Phase::Queued;
        if self.phase == Phase::Queued {
            self.phase = Phase::Running;
        }
        self.owner = Some(replica);
        self.beat += 1;
        self.next_try = None;
        let written = self.clone();
        self.apply_marks_of(&written);
    }

    /// What to do next. Pure: it depends on nothing but the document.
    #[must_use]
    pub fn decide(&self) -> Next {
        match self.phase {
            Phase::Succeeded | Phase::Failed => Next::Rest,
            Phase::Queued | Phase::Running => self
                .work
                .step(self.step)
                .map_or(Next::Succeed, |_| Next::Do(self.step)),
            Phase::Unwinding => self.step.checked_sub(1).map_or(Next::Fail, Next::Undo),
        }
    }

    /// Notes that the step named by [`Self::decide`] is done.
    ///
    /// Returns whether the operation has to be written before it goes on: where repeating the next step would
    /// be expensive, and at the point of no return.
    pub fn advance(&mut self) -> bool {
        self.attempt = 0;
        self.next_try = None;
        match self.phase {
            Phase::Queued | Phase::Running => {
                self.step += 1;
                self.irreversible |= self.step >= self.work.reversible_steps().max(1);
                self.error = None;
                self.work
                    .step(self.step)
                    .is_some_and(|step| step.is_written_before)
            }
            Phase::Unwinding => {
                self.step = self.step.saturating_sub(1);
                false
            }
            Phase::Succeeded | Phase::Failed => false,
        }
    }

    /// Begins to unwind because a step can never succeed, starting with the last step that may have made
    /// something. Only possible before the point of no return; returns `false` after it.
    pub fn unwind(&mut self, why: OperationFailure) -> bool {
        if self.irreversible || self.phase.is_end() {
            return false;
        }
        if self.phase != Phase::Unwinding {
            self.phase = Phase::Unwinding;
            // The failed step may be half done. The steps of a previous owner are not known beyond the written
            // state.
            let reversible = self.work.reversible_steps();
            let reached = if self.taken_over {
                reversible
            } else {
                reversible.min(self.step + 1)
            };
            let is_undone =
                |&position: &usize| self.work.step(position).is_some_and(|step| step.is_undone);
            self.step = (0..reached)
                .rev()
                .find(is_undone)
                .map_or(0, |last| last + 1);
            self.reached = reached;
            self.attempt = 0;
            self.next_try = None;
        }
        self.error = Some(why);
        self.sealed = None;
        true
    }
}

fn cancelled() -> OperationFailure {
    OperationFailure {
        // google.rpc.Code.CANCELLED
        code: 1,
        reason: "CANCELLED".to_owned(),
        message: "somebody cancelled it; nothing of it is left".to_owned(),
    }
}
