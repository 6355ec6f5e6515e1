//! Driving one operation to its end.

use std::{sync::Arc, time::Duration};

use couch::{Exchange, Rev};
use tokio::time::Instant;

use super::Inner;
use crate::{
    clock,
    domain::{
        operation::{Failure, Next, Operation, Phase, Work},
        steps::Step,
    },
    operations::{
        Report, StepError,
        failpoints::{Order, Point},
    },
};

/// The longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// An operation that this replica owns, at the revision that it wrote last.
#[derive(Debug)]
pub(super) struct Held {
    id: String,
    operation: Operation,
    rev: Rev,
    /// When the last write that was won began: the lease counts from here.
    written: Instant,
    /// When the current step began.
    begun: Instant,
}

/// It is no longer ours, or must not be driven on here.
#[derive(Debug)]
struct Gone;

/// What interrupted a step.
enum Outcome {
    Done(Report),
    Failed(StepError),
    Died,
}

impl Held {
    pub(super) fn new(id: String, operation: Operation, rev: Rev) -> Self {
        Self {
            id,
            operation,
            rev,
            written: Instant::now(),
            begun: Instant::now(),
        }
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }
}

impl Inner {
    /// Drives an operation until it has ended, is somebody else's, or the shutdown.
    pub(super) async fn drive(self: &Arc<Self>, held: &mut Held) {
        match self.drive_on(held).await {
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

    async fn drive_on(self: &Arc<Self>, held: &mut Held) -> Result<(), Gone> {
        loop {
            match held.operation.decide() {
                Next::Rest => return Ok(()),
                Next::Succeed => return self.end(held, Phase::Succeeded).await,
                Next::Fail => return self.end(held, Phase::Failed).await,
                Next::Do(step) => self.take_step(held, step, false).await?,
                Next::Undo(step) => self.take_step(held, step, true).await?,
            }
        }
    }

    async fn end(&self, held: &mut Held, phase: Phase) -> Result<(), Gone> {
        let operation = &mut held.operation;
        operation.phase = phase;
        operation.owner = None;
        operation.ended_at = Some(clock::now());
        // What was unwound may have had a second owner for a moment: it is looked at once more.
        let look_again = phase == Phase::Failed && operation.taken_over;
        operation.open = look_again;
        operation.look_again = look_again.then(|| clock::after(self.settings.look_again_after));
        self.write(held).await
    }

    async fn take_step(
        self: &Arc<Self>,
        held: &mut Held,
        step: Step,
        undo: bool,
    ) -> Result<(), Gone> {
        self.wait_for_next_try(held).await?;
        held.begun = Instant::now();
        match self.watch_over(held, step, undo).await? {
            Outcome::Died => Err(Gone),
            Outcome::Done(report) => {
                report(&mut held.operation);
                self.note_duration(held, step, undo);
                let write = held.operation.advance();
                self.show(&held.id, &held.operation);
                if write {
                    self.write(held).await
                } else {
                    Ok(())
                }
            }
            Outcome::Failed(error) => self.fail_step(held, step, error).await,
        }
    }

    fn note_duration(&self, held: &mut Held, step: Step, undo: bool) {
        let took = held.begun.elapsed();
        tracing::debug!(
            operation = held.id,
            step = step.name(),
            undo,
            ms = took.as_millis(),
            "step done"
        );
        if held.operation.spec().is_some_and(|spec| spec.trace) && !undo {
            let took = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
            held.operation
                .durations
                .push((step.name().to_owned(), took));
        }
    }

    /// Does a step while showing signs of life.
    async fn watch_over(
        self: &Arc<Self>,
        held: &mut Held,
        step: Step,
        undo: bool,
    ) -> Result<Outcome, Gone> {
        let snapshot = held.operation.clone();
        let id = held.id.clone();
        let work = self.perform(step, undo, &id, &snapshot);
        tokio::pin!(work);
        loop {
            let beat = held.written + self.settings.beat_every();
            tokio::select! {
                outcome = &mut work => return Ok(outcome),
                () = tokio::time::sleep_until(beat) => {
                    held.operation.beat += 1;
                    self.write(held).await?;
                }
                () = self.shutdown.cancelled() => {
                    self.hand_back(held).await;
                    return Err(Gone);
                }
            }
        }
    }

    async fn perform(&self, step: Step, undo: bool, id: &str, operation: &Operation) -> Outcome {
        let before = Point {
            step,
            undo,
            after: false,
        };
        let mut times = 1;
        match self.settings.failpoints.ask(id, before) {
            Order::Go => {}
            Order::Twice => times = 2,
            Order::Fail => return Outcome::Failed(StepError::Later("a test says so".to_owned())),
            Order::FailForGood => return Outcome::Failed(StepError::Never(test_failure())),
            Order::Die => return Outcome::Died,
        }
        let mut done = Err(StepError::Later(String::new()));
        for _ in 0..times {
            done = self.perform_once(step, undo, id, operation).await;
        }
        match self.settings.failpoints.ask(
            id,
            Point {
                after: true,
                ..before
            },
        ) {
            Order::Die => return Outcome::Died,
            Order::Fail => return Outcome::Failed(StepError::Later("a test says so".to_owned())),
            Order::FailForGood => return Outcome::Failed(StepError::Never(test_failure())),
            Order::Go | Order::Twice => {}
        }
        match done {
            Ok(report) => Outcome::Done(report),
            Err(error) => Outcome::Failed(error),
        }
    }

    async fn perform_once(
        &self,
        step: Step,
        undo: bool,
        id: &str,
        operation: &Operation,
    ) -> Result<Report, StepError> {
        match (step, &operation.work) {
            (Step::Create(step), Work::Create { spec }) if undo => {
                self.creation.undo(step, id, operation, spec).await
            }
            (Step::Create(step), Work::Create { spec }) => {
                self.creation.perform(step, id, operation, spec).await
            }
            (Step::Destroy(step), Work::Destroy { .. }) if !undo => {
                self.destruction.perform(step, id, operation).await
            }
            (Step::Change(step), Work::Change { change }) if undo => {
                self.changing.undo(step, id, operation, change).await
            }
            (Step::Change(step), Work::Change { change }) => {
                self.changing.perform(step, id, operation, change).await
            }
            // Steps come from the operation's own list, and a destruction undoes none.
            (Step::Create(_) | Step::Destroy(_) | Step::Change(_), _) => {
                Err(StepError::Never(Failure {
                    code: tonic::Code::Internal as i32,
                    reason: "WRONG_STEP".to_owned(),
                    message: format!("{} is no step of this operation", step.name()),
                }))
            }
        }
    }

    async fn fail_step(&self, held: &mut Held, step: Step, error: StepError) -> Result<(), Gone> {
        let operation = &mut held.operation;
        let failure = match error {
            StepError::Never(failure) => {
                tracing::warn!(
                    operation = held.id,
                    step = step.name(),
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
                let position = operation
                    .steps()
                    .iter()
                    .position(|step| step.name() == from);
                operation.step = position.unwrap_or(operation.step);
                later(message)
            }
            StepError::Later(message) => later(message),
        };
        tracing::warn!(
            operation = held.id,
            step = step.name(),
            attempt = operation.attempt,
            error = failure.message,
            "a step failed and is tried again"
        );
        let impatient = operation.phase == Phase::Running
            && clock::since(&operation.created_at) > self.creation.config.creation_patience();
        if impatient && operation.turn_back(failure.clone()) {
            return self.write(held).await;
        }
        operation.attempt = operation.attempt.saturating_add(1);
        operation.next_try = Some(clock::after(pause(operation.attempt)));
        operation.error = Some(failure);
        self.write(held).await
    }

    /// Waits until the next try is due, showing signs of life.
    async fn wait_for_next_try(&self, held: &mut Held) -> Result<(), Gone> {
        let Some(next_try) = held.operation.next_try.take() else {
            return Ok(());
        };
        let due = Instant::now() + clock::until(&next_try).min(LONGEST_PAUSE);
        loop {
            let beat = held.written + self.settings.beat_every();
            tokio::select! {
                () = tokio::time::sleep_until(due) => return Ok(()),
                () = tokio::time::sleep_until(beat) => {
                    held.operation.beat += 1;
                    self.write(held).await?;
                }
                () = self.shutdown.cancelled() => {
                    self.hand_back(held).await;
                    return Err(Gone);
                }
            }
        }
    }

    /// Writes a transition. A database that is away is waited for, but no longer than the lease lasts.
    async fn write(&self, held: &mut Held) -> Result<(), Gone> {
        let end = held.written + self.settings.lease;
        let mut attempt = 0;
        loop {
            let begun = Instant::now();
            held.operation.updated_at = clock::now();
            // No two writes of one owner are alike: by that a writer knows its own.
            held.operation.beat += 1;
            let written = self
                .store
                .transition(&held.id, &held.rev, &held.operation)
                .await;
            match written {
                Ok(Exchange::Won(rev)) => {
                    held.rev = rev;
                    held.written = begun;
                    self.show(&held.id, &held.operation);
                    return Ok(());
                }
                Ok(Exchange::Lost) => return Err(Gone),
                Err(error) => {
                    attempt += 1;
                    let pause = pause(attempt).min(Duration::from_secs(1));
                    tracing::warn!(
                        operation = held.id,
                        error = &error as &dyn std::error::Error,
                        "a transition could not be written"
                    );
                    if Instant::now() + pause >= end || self.shutdown.is_cancelled() {
                        return Err(Gone);
                    }
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }

    /// Gives the operation to whoever comes first, so that nobody has to wait for the lease to lapse.
    async fn hand_back(&self, held: &mut Held) {
        held.operation.owner = None;
        held.operation.updated_at = clock::now();
        held.operation.beat += 1;
        let written = self
            .store
            .transition(&held.id, &held.rev, &held.operation)
            .await;
        if let Err(error) = written {
            tracing::warn!(
                operation = held.id,
                error = &error as &dyn std::error::Error,
                "could not be handed back; it is taken over when the lease has lapsed"
            );
        }
    }

    /// Takes an operation that nobody owns any more. `None` when somebody else was faster.
    pub(super) async fn take(
        &self,
        id: &str,
        mut operation: Operation,
        rev: &Rev,
    ) -> Option<(Operation, Rev)> {
        // Whoever had it may have done more than was written down.
        operation.taken_over |= operation.phase != Phase::Queued;
        if operation.phase == Phase::Queued {
            operation.phase = Phase::Running;
        }
        operation.owner = Some(self.settings.replica.clone());
        operation.beat += 1;
        operation.updated_at = clock::now();
        match self.store.transition(id, rev, &operation).await {
            Ok(Exchange::Won(rev)) => Some((operation, rev)),
            Ok(Exchange::Lost) => None,
            Err(error) => {
                tracing::warn!(
                    operation = id,
                    error = &error as &dyn std::error::Error,
                    "could not be taken"
                );
                None
            }
        }
    }
}

fn later(message: String) -> Failure {
    Failure {
        code: tonic::Code::Unavailable as i32,
        reason: "TRIED_AGAIN".to_owned(),
        message,
    }
}

fn test_failure() -> Failure {
    Failure {
        code: tonic::Code::FailedPrecondition as i32,
        reason: "TEST".to_owned(),
        message: "a test says so".to_owned(),
    }
}

/// The pause before a try: 100 ms, doubled each time, 30 s at most.
fn pause(attempt: u32) -> Duration {
    Duration::from_millis(50)
        .saturating_mul(2_u32.saturating_pow(attempt.min(16)))
        .min(LONGEST_PAUSE)
}
