//! `google.longrunning.Operations` and `OperationService`.

use futures::StreamExt as _;
use hamlet_proto::{
    google::longrunning::{
        CancelOperationRequest, GetOperationRequest, ListOperationsRequest, ListOperationsResponse,
    },
    hamlet::instance::v1::{RetryOperationRequest, WatchOperationRequest},
};
use tonic::Status;

use super::{Stage, WatchEnd, page};

pub(super) fn play(stage: &Stage<'_>) {
    stage.answer(|script, asked: ListOperationsRequest| {
        let (operations, next_page_token) =
            page(&script.operations, &asked.page_token, asked.page_size);
        Ok(ListOperationsResponse {
            operations,
            next_page_token,
        })
    });
    stage.answer(|script, asked: GetOperationRequest| {
        let name = asked.name;
        let mut operations = script.operations.iter();
        let found = operations.find(|operation| operation.name == name);
        found
            .cloned()
            .ok_or_else(|| Status::not_found(format!("there is no {name}")))
    });
    stage.answer(|_, _: CancelOperationRequest| Ok(()));
    stage.answer(|script, _: RetryOperationRequest| Ok(script.accepted.clone()));
    stage.stream(|script, _: WatchOperationRequest| {
        let watch = script.watches.pop_front();
        let (states, end) =
            watch.ok_or_else(|| Status::unavailable("no watch is left in the script"))?;
        let states = tokio_stream::iter(states.into_iter().map(Ok));
        Ok(match end {
            WatchEnd::Stop => states.boxed(),
            WatchEnd::Hang => states.chain(tokio_stream::pending()).boxed(),
            WatchEnd::Fail(status) => states.chain(tokio_stream::once(Err(status))).boxed(),
        })
    });
}
