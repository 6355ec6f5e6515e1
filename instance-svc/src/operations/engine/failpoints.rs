//! Places where tests make an operation fail.
//!
//! The engine asks before and after every step, and before and after a head start ([`StepId::early`]): one that
//! fails is left out, and an owner that dies after it never drives what was accepted. In production nobody
//! answers.

use std::{fmt, sync::Arc};

/// A step of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StepId {
    /// The name under which the kind is written down.
    pub kind: &'static str,
    /// The name of the step.
    pub step: &'static str,
}

impl StepId {
    /// What stands for the head start of a kind, which it has beside the acceptance of an operation.
    #[must_use]
    pub const fn early(kind: &'static str) -> Self {
        Self {
            kind,
            step: "early",
        }
    }
}

/// A moment in the life of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Point {
    /// The step.
    pub step: StepId,
    /// Whether it is undone.
    pub undo: bool,
    /// Whether it was done just now, and nothing was written down yet.
    pub after: bool,
}

/// What is to happen at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Nothing special.
    Go,
    /// The step fails, and may be tried again.
    Fail,
    /// The step fails for good.
    FailForGood,
    /// The step is done once more.
    Twice,
    /// The step is not done, and said to be: to see that the tests would notice.
    Skip,
    /// The owner dies: nothing more is done or written down by it.
    Die,
}

/// Whoever decides.
type Decide = dyn Fn(&str, Point) -> Order + Send + Sync;

/// Who is asked at every moment.
#[derive(Clone, Default)]
pub struct Failpoints(Option<Arc<Decide>>);

impl Failpoints {
    /// Asks `decide`, which gets the operation's id and the moment.
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
