//! The steps of the registered kinds of operations.

use instance_svc::operations::{
    Work,
    failpoints::{Point, StepId},
};

/// All steps of a kind, in order.
pub(crate) fn steps(kind: &str) -> Vec<StepId> {
    let kinds = Work::kinds();
    let kind = kinds
        .iter()
        .find(|known| known.name == kind)
        .unwrap_or_else(|| panic!("{kind} is no kind of operation"));
    kind.steps
        .iter()
        .map(|&step| StepId {
            kind: kind.name,
            step,
        })
        .collect()
}

/// One step of a kind.
pub(crate) fn step(kind: &str, name: &str) -> StepId {
    steps(kind)
        .into_iter()
        .find(|step| step.step == name)
        .unwrap_or_else(|| panic!("{kind} has no step {name}"))
}

/// The first steps of a kind, up to but not including the one with this name.
pub(crate) fn steps_before(kind: &str, name: &str) -> Vec<StepId> {
    let end = step(kind, name);
    steps(kind)
        .into_iter()
        .take_while(|step| *step != end)
        .collect()
}

/// Whether `at` is the head start that does the work of `step`, the first step of its kind. A test that wants
/// to reach that step has to suppress it.
pub(crate) fn is_head_start_over(step: StepId, at: Point) -> bool {
    let head_start = Point {
        step: StepId::early(step.kind),
        undo: false,
        after: false,
    };
    at == head_start && steps(step.kind).first() == Some(&step)
}
