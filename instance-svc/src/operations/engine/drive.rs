//! Driving one operation to its end.

use std::sync::Arc;

use couch::Rev;
use service_kit::telemetry;
use tokio::{sync::Notify, time::Instant};
use tracing::Instrument as _;

use super::{Afterwards, Inner, Kinds, Report, StepError, Written, owner::Gone, turns::Turn};
use crate::domain::operation::{Next, Operation, OperationFailure, Phase, StepFacts, Work};

/// An operation that this replica owns, at the revision that it wrote last.
#[derive(Debug)]
pub(super) struct Held<W> {
    pub(super) id: String,
    pub(super) operation: Operation<W>,
    pub(super) rev: Rev,
    /// When the last successful write began; the lease counts from here.
    pub(super) written: Instant,
    /// The beat of the last successful write.
    pub(super) beat: u64,
    /// Whether another replica is known to own the operation now.
    pub(super) lost: bool,
    /// When the current step began.
    begun: Instant,
    /// When the next try is due, on the local monotonic clock.
    due: Instant,
    /// Whether the write that precedes the current step has still to be sent.
    unwritten: bool,
    /// The operation's turn. It is given back before the end is written.
    turn: Option<Turn>,
    /// Notified when a caller sets a mark.
    nudged: Arc<Notify>,
}

/// The result of performing a step.
pub(super) enum Outcome<W> {
    Done(Report<W>),
    Failed(StepError),
    /// A test makes the owner die.
    Died,
    /// The operation was cancelled while the step ran, and the step was abandoned.
    Abandoned,
}

impl<W> Outcome<W> {
    /// The value of the metric's label.
    const fn name(&self, undo: bool) -> &'static str {
        match (self, undo) {
            (Self::Done(_), false) => "done",
            (Self::Done(_), true) => "undone",
            (Self::Failed(_), false) => "failed",
            (Self::Failed(_), true) => "undo_failed",
            (Self::Died, _) => "died",
            (Self::Abandoned, _) => "broken_off",
        }
    }
}

/// Why the owner has to write now.
enum Signal {
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
    /// Drives an operation until it ends, another replica owns it, or this process shuts down.
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
                "given up; another replica or a later scan takes it"
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
        // The turn is given back before anybody is told of the end, so that a caller who waited for it finds
        // the turn free.
        held.turn = None;
        let clock = &self.settings.clock;
        let afterwards = self.kinds.bind(&held.id, &held.operation).afterwards(phase);
        let operation = &mut held.operation;
        operation.phase = phase;
        // What was sealed has been written to its destination, or will never be needed.
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
            Outcome::Abandoned => {
                // The abandoned step may still have effects, so they are looked for once more after the end.
                held.operation.taken_over = true;
                Ok(())
            }
            // The operation was cancelled during the step: what the step made is undone next.
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

    /// Performs a step while showing signs of life.
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
            // Both are single requests, so neither takes longer than the timeout of a call.
            let (written, outcome) = tokio::join!(self.write(held), work);
            return written.map(|()| outcome);
        }
        tokio::pin!(work);
        loop {
            let due = tokio::select! {
                // A process that was paused checks first whether it still owns the operation.
                biased;
                due = self.next_signal(held) => due,
                outcome = &mut work => return Ok(outcome),
            };
            self.show_life(held, due).await?;
            let turned_back = !undo && held.operation.phase == Phase::Unwinding;
            if turned_back && step.is_abandoned_on_cancel {
                return Ok(Outcome::Abandoned);
            }
        }
    }

    /// Waits until the owner has to write: a sign of life is due, a mark was set, or the process shuts down.
    async fn next_signal(&self, held: &Held<K::Work>) -> Signal {
        let beat = held.written + self.settings.beat_every();
        tokio::select! {
            () = tokio::time::sleep_until(beat) => Signal::Life,
            () = held.nudged.notified() => Signal::Life,
            () = self.shutdown.cancelled() => Signal::Shutdown,
        }
    }

    async fn show_life(&self, held: &mut Held<K::Work>, due: Signal) -> Result<(), Gone> {
        match due {
            Signal::Life => self.write(held).await,
            Signal::Shutdown => {
                self.release(held).await;
                Err(Gone)
            }
        }
    }

    /// Waits until the next try is due, or until a mark asks for it at once. Shows signs of life meanwhile.
    async fn wait_for_next_try(&self, held: &mut Held<K::Work>) -> Result<(), Gone> {
        while held.operation.next_try.is_some() {
            let due = tokio::select! {
                () = tokio::time::sleep_until(held.due) => {
                    held.operation.next_try = None;
                    break;
                }
                due = self.next_signal(held) => due,
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
                    "a step failed for good"
                );
                if operation.unwind(failure.clone()) {
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
            && patience.is_some_and(|patience| clock.since(operation.created_at) > patience);
        if impatient && operation.unwind(failure.clone()) {
            return self.write(held).await;
        }
        operation.attempt = operation.attempt.saturating_add(1);
        let pause = self.settings.pause(operation.attempt);
        operation.next_try = Some(clock.after(pause));
        // While unwinding, `error` keeps the reason of the failure; what delays the undoing does not replace
        // it.
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
