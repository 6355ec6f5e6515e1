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
