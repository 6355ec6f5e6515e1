//! Doing one step, as often and as far as tests let it.

use super::{Inner, drive::Outcome};
use crate::{
    domain::{
        operation::{Failure, Operation, Work},
        steps::Step,
    },
    operations::{
        Report, StepError,
        failpoints::{Order, Point},
        nothing,
    },
};

impl Inner {
    pub(super) async fn perform(
        &self,
        step: Step,
        undo: bool,
        id: &str,
        operation: &Operation,
    ) -> Outcome {
        let before = Point {
            step,
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
            Order::Go | Order::Twice | Order::Skip => {}
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
            (Step::Orphans(step), Work::PurgeOrphans) if !undo => self.orphans.perform(step).await,
            // Steps come from the operation's own list, and a destruction undoes none.
            (Step::Create(_) | Step::Destroy(_) | Step::Change(_) | Step::Orphans(_), _) => {
                Err(StepError::Never(Failure {
                    code: tonic::Code::Internal as i32,
                    reason: "WRONG_STEP".to_owned(),
                    message: format!("{} is no step of this operation", step.name()),
                }))
            }
        }
    }
}

fn test_failure() -> Failure {
    Failure {
        code: tonic::Code::FailedPrecondition as i32,
        reason: "TEST".to_owned(),
        message: "a test says so".to_owned(),
    }
}
