//! Points at which tests make an operation fail.
//!
//! The engine asks before and after every step, and before and after a head start ([`StepId::early`]). A head
//! start that fails is left out. An owner that dies after a head start never drives the accepted operation. In
//! production no failpoint is set.

use std::{fmt, sync::Arc};

/// A step of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StepId {
    /// The stored name of the kind.
    pub kind: &'static str,
    /// The name of the step.
    pub step: &'static str,
}

impl StepId {
    /// Stands for the head start of a kind, which runs in parallel with the acceptance of an operation.
    #[must_use]
    pub const fn early(kind: &'static str) -> Self {
        Self {
            kind,
            step: "early",
        }
    }
}

/// A point in the execution of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Point {
    /// The step.
    pub step: StepId,
    /// Whether the step is being undone.
    pub undo: bool,
    /// Whether the step has just been done and nothing has been written yet.
    pub after: bool,
}

/// What the engine does at such a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Nothing special.
    Go,
    /// The step fails and may be tried again.
    Fail,
    /// The step fails for good.
    FailForGood,
    /// The step is done once more.
    Twice,
    /// The step is skipped and reported as done: it shows that the tests would notice.
    Skip,
    /// The owner dies: it does and writes nothing more.
    Die,
}

/// Decides what happens at a point.
type Decide = dyn Fn(&str, Point) -> Order + Send + Sync;

/// The failpoints of an engine; asked at every point.
#[derive(Clone, Default)]
pub struct Failpoints(Option<Arc<Decide>>);

impl Failpoints {
    /// Asks `decide`, which gets the operation's id and the point.
    pub fn new(decide: impl Fn(&str, Point) -> Order + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(decide)))
    }

    pub(crate) fn ask(&self, id: &str, point: Point) -> Order {
        self.0
            .as_ref()
            .map_or(Order::Go, |decide| decide(id, point))
    }
}

impl fmt::Debug for Failpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() {
            "Failpoints(on)"
        } else {
            "Failpoints(off)"
        })
    }
}
