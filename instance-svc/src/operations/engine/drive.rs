//! Driving one operation to its end.

use std::sync::Arc;

use couch::Rev;
use service_kit::telemetry;
use tokio::{sync::Notify, time::Instant};
use tracing::Instrument as _;

use super::{Afterwards, Inner, Kinds, Report, StepError, Written, line::Turn, owner::Gone};
use crate::domain::operation::{Next, Operation, OperationFailure, Phase, StepFacts, Work};

/// An operation that this replica owns, at the revision that it wrote last.
#[derive(Debug)]
pub(super) struct Held<W> {
    pub(super) id: String,
    pub(super) operation: Operation<W>,
    pub(super) rev: Rev,
    /// When the last write that was won began: the lease counts from here.
    pub(super) written: Instant,
    /// The beat of the last write that was won.
    pub(super) beat: u64,
    /// Whether it is known to be somebody else's by now.
    pub(super) lost: bool,
    /// When the current step began.
    begun: Instant,
    /// When the next try is due, on our own clock.
    due: Instant,
    /// Whether the write before the current step has still to be sent.
    unwritten: bool,
    /// Its place among those that are at work at once, until only its end is left to write down.
    turn: Option<Turn>,
    /// Somebody set a mark.
    nudged: Arc<Notify>,
}

/// What became of a step.
pub(super) enum Outcome<W> {
    Done(Report<W>),
    Failed(StepError),
    /// A test lets the owner die.
    Died,
    /// It was cancelled, and the step was not waited for.
    BrokenOff,
}

impl<W> Outcome<W> {
    /// What metrics call it.
    const fn name(&self, undo: bool) -> &'static str {
        match (self, undo) {
            (Self::Done(_), false) => "done",
            (Self::Done(_), true) => "undone",
            (Self::Failed(_), false) => "failed",
            (Self::Failed(_), true) => "undo_failed",
            (Self::Died, _) => "died",
            (Self::BrokenOff, _) => "broken_off",
        }
    }
}

/// Why an owner has to write now.
enum Due {
    Life,
    Shutdown,
}

impl<W: Work> Held<W> {
    pub(super) fn new(id: String, written: Written<W>, turn: Turn, nudged: Arc<Notify>) -> Self {
        let now = Instant::now();
        let Written { operation, rev, at } = written;
        Self {
            id,
            beat: operation.beat,
            operation,
            rev,
            written: at,
            lost: false,
            begun: now,
            due: now,
            unwritten: false,
            turn: Some(turn),
            nudged,
        }
    }
}

impl<K: Kinds> Inner<K> {
    /// Drives an operation until it has ended, is somebody else's, or the shutdown.
    pub(super) async fn drive(self: &Arc<Self>, held: &mut Held<K::Work>) {
        let traceparent = held.operation.traceparent.as_deref();
        let span = telemetry::operation_span(held.operation.kind(), traceparent);
        match self.drive_on(held).instrument(span).await {
            Ok(()) => tracing::info!(
                operation = held.id,
                kind = held.operation.kind(),
                domain = held.operation.domain,
                phase = ?held.operation.phase,
                "ended"
            ),
            Err(Gone) => tracing::info!(
                operation = held.id,
                domain = held.operation.domain,
                "let go; whoever finds it goes on"
            ),
        }
    }

    async fn drive_on(self: &Arc<Self>, held: &mut Held<K::Work>) -> Result<(), Gone> {
        loop {
            if held.operation.next_try.is_some() {
                self.wait_for_next_try(held).await?;
                continue;
            }
            match held.operation.decide() {
                Next::Rest => return Ok(()),
                Next::Succeed => return self.end(held, Phase::Succeeded).await,
                Next::Fail => return self.end(held, Phase::Failed).await,
                Next::Do(position) => self.take_step(held, position, false).await?,
                Next::Undo(position) => self.take_step(held, position, true).await?,
            }
        }
    }

    async fn end(&self, held: &mut Held<K::Work>, phase: Phase) -> Result<(), Gone> {
        // Before anybody is told: who waited for this end to begin the next finds the turn free.
        held.turn = None;
        let clock = &self.settings.clock;
        let afterwards = self.kinds.bind(&held.id, &held.operation).afterwards(phase);
        let operation = &mut held.operation;
        operation.phase = phase;
        // What was sealed is written where it belongs, or never will be.
        operation.sealed = None;
        operation.ended_at = Some(clock.now());
        operation.open = afterwards == Afterwards::LookAgain;
        operation.look_again = match afterwards {
            Afterwards::Nothing => None,
            Afterwards::LookAgain => Some(clock.after(self.settings.look_again_after)),
            Afterwards::FallsDue(at) => Some(at),
        };
        self.write(held).await?;
        self.kinds.bind(&held.id, &held.operation).tidy().await;
        Ok(())
    }

    async fn take_step(
        self: &Arc<Self>,
        held: &mut Held<K::Work>,
        position: usize,
        undo: bool,
    ) -> Result<(), Gone> {
        let Some(step) = held.operation.work.step(position) else {
            return Ok(());
        };
        held.begun = Instant::now();
        let outcome = self.watch_over(held, position, step, undo).await?;
        let (kind, took) = (held.operation.kind(), held.begun.elapsed());
        telemetry::operation_step(kind, step.name, outcome.name(undo), took);
        let turned_back = !undo && held.operation.phase == Phase::Unwinding;
        match outcome {
            Outcome::Died => Err(Gone),
            Outcome::BrokenOff => {
                // What the step still does is not known: it is looked for once more, later.
                held.operation.taken_over = true;
                Ok(())
            }
            // It was cancelled meanwhile: what the step made is undone next.
            Outcome::Done(_) | Outcome::Failed(_) if turned_back => Ok(()),
            Outcome::Done(report) => {
                report(&mut held.operation.work);
                self.note_duration(held, step, undo);
                let write = held.operation.advance();
                held.unwritten = write && self.next_only_looks(&held.operation);
                if write && !held.unwritten {
                    return self.write(held).await;
                }
                self.show(&held.id, &held.operation);
                Ok(())
            }
            Outcome::Failed(error) => self.fail_step(held, step, error).await,
        }
    }

    fn next_only_looks(&self, operation: &Operation<K::Work>) -> bool {
        match operation.decide() {
            Next::Do(next) => operation
                .work
                .step(next)
                .is_some_and(|step| step.only_looks),
            Next::Undo(_) | Next::Succeed | Next::Fail | Next::Rest => false,
        }
    }

    fn note_duration(&self, held: &mut Held<K::Work>, step: StepFacts, undo: bool) {
        let took = held.begun.elapsed();
        tracing::debug!(
            operation = held.id,
            step = step.name,
            undo,
            ms = took.as_millis(),
            "step done"
        );
        if held.operation.work.is_traced() && !undo {
            let took = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
            held.operation.durations.push((step.name.to_owned(), took));
        }
    }

    /// Does a step while showing signs of life.
    async fn watch_over(
        self: &Arc<Self>,
        held: &mut Held<K::Work>,
        position: usize,
        step: StepFacts,
        undo: bool,
    ) -> Result<Outcome<K::Work>, Gone> {
        let snapshot = held.operation.clone();
        let id = held.id.clone();
        let work = self.perform(position, step, undo, &id, &snapshot);
        if std::mem::take(&mut held.unwritten) {
            // One request each, as long as a call may take at most.
            let (written, outcome) = tokio::join!(self.write(held), work);
            return written.map(|()| outcome);
        }
        tokio::pin!(work);
        loop {
            let due = tokio::select! {
                // Who was stopped for a while asks first whether the operation is still its own.
                biased;
                due = self.sign_of_life_is_due(held) => due,
                outcome = &mut work => return Ok(outcome),
            };
            self.show_life(held, due).await?;
            let turned_back = !undo && held.operation.phase == Phase::Unwinding;
            if turned_back && step.may_be_broken_off {
                return Ok(Outcome::BrokenOff);
            }
        }
    }

    /// Waits until the owner has to write: a sign of life is due, somebody set a mark, or the shutdown.
    async fn sign_of_life_is_due(&self, held: &Held<K::Work>) -> Due {
        let beat = held.written + self.settings.beat_every();
        tokio::select! {
            () = tokio::time::sleep_until(beat) => Due::Life,
            () = held.nudged.notified() => Due::Life,
            () = self.shutdown.cancelled() => Due::Shutdown,
        }
    }

    async fn show_life(&self, held: &mut Held<K::Work>, due: Due) -> Result<(), Gone> {
        match due {
            Due::Life => self.write(held).await,
            Due::Shutdown => {
                self.hand_back(held).await;
                Err(Gone)
            }
        }
    }

    /// Waits until the next try is due, showing signs of life, or until somebody wants no waiting.
    async fn wait_for_next_try(&self, held: &mut Held<K::Work>) -> Result<(), Gone> {
        while held.operation.next_try.is_some() {
            let due = tokio::select! {
                () = tokio::time::sleep_until(held.due) => {
                    held.operation.next_try = None;
                    break;
                }
                due = self.sign_of_life_is_due(held) => due,
            };
            self.show_life(held, due).await?;
        }
        self.show(&held.id, &held.operation);
        Ok(())
    }

    async fn fail_step(
        &self,
        held: &mut Held<K::Work>,
        step: StepFacts,
        error: StepError,
    ) -> Result<(), Gone> {
        let patience = self.kinds.bind(&held.id, &held.operation).patience();
        let operation = &mut held.operation;
        let failure = match error {
            StepError::Never(failure) => {
                tracing::warn!(
                    operation = held.id,
                    step = step.name,
                    error = failure.message,
                    "a step cannot be done"
                );
                if operation.turn_back(failure.clone()) {
                    return self.write(held).await;
                }
                // Beyond the point of no return the only way is forward.
                failure
            }
            StepError::Again(from, message) => {
                operation.step = from;
                later(message)
            }
            StepError::Later(message) => later(message),
        };
        tracing::warn!(
            operation = held.id,
            step = step.name,
            attempt = operation.attempt,
            error = failure.message,
            "a step failed and is tried again"
        );
        let clock = &self.settings.clock;
        let impatient = operation.phase == Phase::Running
            && patience.is_some_and(|patience| clock.since(&operation.created_at) > patience);
        if impatient && operation.turn_back(failure.clone()) {
            return self.write(held).await;
        }
        operation.attempt = operation.attempt.saturating_add(1);
        let pause = self.settings.pause(operation.attempt);
        operation.next_try = Some(clock.after(pause));
        // On the way back it is told why the operation failed, not what is in the way now.
        if operation.phase != Phase::Unwinding {
            operation.error = Some(failure);
        }
        held.due = Instant::now() + pause;
        self.write(held).await
    }
}

fn later(message: String) -> OperationFailure {
    OperationFailure {
        code: tonic::Code::Unavailable as i32,
        reason: "TRIED_AGAIN".to_owned(),
        message,
    }
}
