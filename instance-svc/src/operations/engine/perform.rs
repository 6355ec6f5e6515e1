//! Performing one step, subject to the failpoints of tests.

use super::{
    Inner, Kinds, StepError,
    drive::Outcome,
    failpoints::{Order, Point, StepId},
    nothing,
};
use crate::domain::operation::{Operation, OperationFailure, StepFacts, Work as _};

impl<K: Kinds> Inner<K> {
    pub(super) async fn perform(
        &self,
        position: usize,
        step: StepFacts,
        undo: bool,
        id: &str,
        operation: &Operation<K::Work>,
    ) -> Outcome<K::Work> {
        let before = Point {
            step: StepId {
                kind: operation.work.registered_name(),
                step: step.name,
            },
            undo,
            after: false,
        };
        let mut times = 1;
        match self.settings.failpoints.ask(id, before) {
            Order::Go => {}
            Order::Twice => times = 2,
            Order::Skip => return Outcome::Done(nothing()),
            Order::Fail => return Outcome::Failed(StepError::Later("a test says so".to_owned())),
            Order::FailForGood => return Outcome::Failed(StepError::Never(test_failure())),
            Order::Die => return Outcome::Died,
        }
        let mut done = Err(StepError::Later(String::new()));
        for _ in 0..times {
            done = self.kinds.bind(id, operation).perform(position, undo).await;
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
            Order::Go | Order::Twice | Order::Skip => {}
        }
        match done {
            Ok(report) => Outcome::Done(report),
            Err(error) => Outcome::Failed(error),
        }
    }
}

fn test_failure() -> OperationFailure {
    OperationFailure {
        code: tonic::Code::FailedPrecondition as i32,
        reason: "TEST".to_owned(),
        message: "a test says so".to_owned(),
    }
}
