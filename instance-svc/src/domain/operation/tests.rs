use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use super::{
    Cancelling, Envelope, Next, Operation, OperationFailure, Phase, StepFacts, Subject, Time, Work,
};

fn time(second: i64) -> Time {
    Time::from_unix(second, 0).unwrap_or(Time::MIN)
}

/// Work whose first steps can be undone.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Toy {
    /// The number of steps.
    steps: usize,
    /// How many of the first steps can be undone.
    reversible: usize,
}

/// Like a creation: some steps can be undone, others cannot.
const CREATION: Toy = Toy {
    steps: 5,
    reversible: 3,
};

/// Like a destruction: it only goes forward.
const DESTRUCTION: Toy = Toy {
    steps: 5,
    reversible: 0,
};

impl Work for Toy {
    fn registered_name(&self) -> &'static str {
        "toy"
    }

    fn kind(&self) -> &'static str {
        "toy"
    }

    fn step(&self, position: usize) -> Option<StepFacts> {
        (position < self.steps).then_some(StepFacts {
            name: "step",
            is_undone: position < self.reversible,
            is_written_before: false,
            only_looks: false,
            is_abandoned_on_cancel: false,
        })
    }

    fn reversible_steps(&self) -> usize {
        self.reversible
    }

    fn refuses_cancel(&self, irreversible: bool) -> Option<&'static str> {
        (irreversible || self.reversible == 0).then_some("it is too late")
    }

    fn is_traced(&self) -> bool {
        false
    }
}

pub(crate) fn creation() -> Operation<Toy> {
    running(CREATION)
}

fn running(work: Toy) -> Operation<Toy> {
    let mut envelope = Envelope::new(Subject::default(), String::new(), Time::MIN);
    envelope.phase = Phase::Running;
    Operation { envelope, work }
}

/// A creation whose next step is this one.
fn creation_at(step: usize) -> Operation<Toy> {
    let mut operation = creation();
    for _ in 0..step {
        operation.advance();
    }
    operation
}

fn why() -> OperationFailure {
    OperationFailure {
        code: 6,
        reason: "NAME_TAKEN".to_owned(),
        message: String::new(),
    }
}

proptest! {
    /// Wherever a creation fails, all steps before are undone, the last one first.
    #[test]
    fn the_way_back_undoes_what_was_done(at in 0..CREATION.steps, taken_over: bool) {
        let mut operation = creation_at(at);
        operation.taken_over = taken_over;
        let turned = operation.unwind(why());
        prop_assert_eq!(turned, at < CREATION.reversible);
        if !turned {
            return Ok(());
        }
        let mut undone = Vec::new();
        while let Next::Undo(step) = operation.decide() {
            undone.push(step);
            operation.advance();
        }
        prop_assert_eq!(operation.decide(), Next::Fail);
        let last = if taken_over { CREATION.reversible - 1 } else { at };
        let expected: Vec<usize> = (0..=last).rev().collect();
        prop_assert_eq!(undone, expected);
    }
}

proptest! {
    /// The stored state decides. Before the point of no return a mark makes the owner unwind, however far it
    /// is; a mark that comes later is refused.
    #[test]
    fn a_mark_turns_back_what_was_not_written_as_final(
        written_at in 0..CREATION.steps,
        ahead in 0_usize..3,
    ) {
        let mut written = creation_at(written_at);
        let mut owners =
            creation_at((written_at + ahead).min(CREATION.reversible).max(written_at));
        let asked = written.request_cancel(Time::MIN);
        prop_assert_eq!(asked.is_ok(), written_at < CREATION.reversible);
        owners.apply_marks_of(&written);
        prop_assert_eq!(owners.phase == Phase::Unwinding, asked.is_ok());
        if asked.is_ok() {
            prop_assert_eq!(asked, Ok(Cancelling::Marked));
            prop_assert!(owners.step > written_at && owners.step <= CREATION.reversible);
            prop_assert_eq!(written.request_cancel(Time::MIN), Ok(Cancelling::Already));
        }
    }
}

#[test]
fn a_queued_operation_is_cancelled_at_once() {
    let mut operation = creation();
    operation.phase = Phase::Queued;
    assert_eq!(operation.request_cancel(time(1)), Ok(Cancelling::Ended));
    assert_eq!(operation.decide(), Next::Rest);
    assert_eq!(operation.phase, Phase::Failed);
    assert!(!operation.open);
    // Cancelling again is no error: the first response may have been lost.
    assert_eq!(operation.request_cancel(time(2)), Ok(Cancelling::Already));
}

#[test]
fn an_irreversible_operation_cannot_be_cancelled_while_it_runs() {
    let mut operation = running(DESTRUCTION);
    assert!(operation.request_cancel(Time::MIN).is_err());
    assert!(!operation.cancel_requested);
    // A mark on an older state changes nothing.
    let mut marked = operation.clone();
    marked.cancel_requested = true;
    operation.apply_marks_of(&marked);
    assert_eq!(operation.phase, Phase::Running);
}

#[test]
fn an_irreversible_operation_never_unwinds_once_it_has_begun() {
    let mut operation = running(DESTRUCTION);
    operation.advance();
    assert!(!operation.unwind(why()));
    assert_eq!(operation.phase, Phase::Running);
}

#[test]
fn an_operation_that_could_not_begin_has_nothing_to_undo() {
    let mut operation = running(DESTRUCTION);
    assert!(operation.unwind(why()));
    assert_eq!(operation.decide(), Next::Fail);
}
