//! What it answers about operations.

use hamlet_proto::{
    google::longrunning::{
        CancelOperationRequest, DeleteOperationRequest, GetOperationRequest, ListOperationsRequest,
        ListOperationsResponse, Operation, WaitOperationRequest, operations_server::Operations,
    },
    hamlet::instance::v1::{
        RetryOperationRequest, WatchOperationRequest, operation_service_server::OperationService,
    },
};
use tokio_stream::StreamExt as _;
use tonic::{Request, Response, Status};

use super::{End, Sent, State, not_here, page};

#[tonic::async_trait]
impl Operations for State {
    async fn list_operations(
        &self,
        request: Request<ListOperationsRequest>,
    ) -> Result<Response<ListOperationsResponse>, Status> {
        self.enter("ListOperations", &request)?;
        let request = request.into_inner();
        let token = request.page_token;
        self.note(|asked| asked.filters.push(request.filter));
        let (operations, next_page_token) = self.script(|script| page(&script.operations, &token));
        Ok(Response::new(ListOperationsResponse {
            operations,
            next_page_token,
        }))
    }

    async fn get_operation(
        &self,
        request: Request<GetOperationRequest>,
    ) -> Result<Response<Operation>, Status> {
        self.enter("GetOperation", &request)?;
        let name = request.into_inner().name;
        self.script(|script| {
            script
                .operations
                .iter()
                .find(|operation| operation.name == name)
                .cloned()
                .map(Response::new)
                .ok_or_else(|| Status::not_found(format!("there is no {name}")))
        })
    }

    async fn delete_operation(
        &self,
        _: Request<DeleteOperationRequest>,
    ) -> Result<Response<()>, Status> {
        not_here()
    }

    async fn cancel_operation(
        &self,
        request: Request<CancelOperationRequest>,
    ) -> Result<Response<()>, Status> {
        self.enter("CancelOperation", &request)?;
        Ok(Response::new(()))
    }

    async fn wait_operation(
        &self,
        _: Request<WaitOperationRequest>,
    ) -> Result<Response<Operation>, Status> {
        not_here()
    }
}

#[tonic::async_trait]
impl OperationService for State {
    type WatchOperationStream = Sent<Operation>;

    async fn watch_operation(
        &self,
        request: Request<WatchOperationRequest>,
    ) -> Result<Response<Self::WatchOperationStream>, Status> {
        self.enter("WatchOperation", &request)?;
        let (states, end) = self
            .script(|script| script.watches.pop_front())
            .ok_or_else(|| Status::unavailable("no watch is left in the script"))?;
        let states = tokio_stream::iter(states.into_iter().map(Ok));
        Ok(Response::new(match end {
            End::Stop => Box::pin(states),
            End::Hang => Box::pin(states.chain(tokio_stream::pending())),
            End::Fail(status) => Box::pin(states.chain(tokio_stream::once(Err(status)))),
        }))
    }

    async fn retry_operation(
        &self,
        request: Request<RetryOperationRequest>,
    ) -> Result<Response<Operation>, Status> {
        self.enter("RetryOperation", &request)?;
        Ok(Response::new(self.script(|script| script.accepted.clone())))
    }
}
