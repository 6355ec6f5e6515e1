//! `google.longrunning.Operations` and `hamlet.instance.v1.OperationService`.

use std::{pin::Pin, time::Duration};

use futures::{Stream, StreamExt as _};
use hamlet_proto::{
    google::longrunning::{
        CancelOperationRequest, DeleteOperationRequest, GetOperationRequest, ListOperationsRequest,
        ListOperationsResponse, Operation, WaitOperationRequest, operations_server::Operations,
    },
    hamlet::instance::v1::{
        RetryOperationRequest, WatchOperationRequest, operation_service_server::OperationService,
    },
};
use service_kit::{caller::Caller, status};
use tonic::{Request, Response, Status};

use super::Shared;
use crate::{
    actions::{cancel::cancel, follow::follow, forget::forget, list_operations, retry::retry},
    domain::{operation::Phase, operation_filter::OperationFilter, spec::InvalidField},
    error::Error,
    messages,
    operations::{self, engine::Detail},
};

/// How long [`Operations::wait_operation`] waits by default.
const WAIT: Duration = Duration::from_secs(60);
/// The fewest characters of an id that stand for it.
const SHORTEST_ID: usize = 6;
const DEFAULT_PAGE: usize = 100;
const LARGEST_PAGE: usize = 1000;

#[derive(Clone, Debug)]
pub(crate) struct OperationsApi(pub(crate) Shared);

/// An operation as a message.
pub(crate) async fn show(
    shared: &Shared,
    id: &str,
    operation: &operations::Operation,
    detail: Detail,
) -> Result<Operation, Error> {
    let response = if operation.phase == Phase::Succeeded {
        Some(shared.engine.respond(id, operation, detail).await?)
    } else {
        None
    };
    let position = shared.engine.position(id, operation);
    Ok(messages::operation(id, operation, position, response))
}

impl OperationsApi {
    /// The id of the operation with this name. The beginning of an id will do, if no other id begins so.
    async fn id_of(&self, name: &str) -> Result<String, Error> {
        let given = messages::operation_id(name)?;
        if given.len() == messages::OPERATION_ID_LENGTH {
            return Ok(given);
        }
        if given.len() > messages::OPERATION_ID_LENGTH {
            return Err(InvalidField {
                field: "name".to_owned(),
                wrong: format!(
                    "is longer than the id of an operation, which has {} characters",
                    messages::OPERATION_ID_LENGTH
                ),
            }
            .into());
        }
        if given.len() < SHORTEST_ID {
            return Err(InvalidField {
                field: "name".to_owned(),
                wrong: format!(
                    "{given} is too short; write at least the first {SHORTEST_ID} characters of the id"
                ),
            }
            .into());
        }
        let mut found = self.0.engine.log().ids_beginning(&given).await?.into_iter();
        match (found.next(), found.next()) {
            (Some(id), None) => Ok(id),
            (None, _) => Err(Error::NoSuchOperation(name.to_owned())),
            (Some(_), Some(_)) => Err(InvalidField {
                field: "name".to_owned(),
                wrong: format!(
                    "{given} is the beginning of several operations; write more of the id"
                ),
            }
            .into()),
        }
    }

    async fn read(&self, id: &str) -> Result<operations::Operation, Error> {
        if let Some(driven) = self.0.engine.follow(id) {
            return Ok((**driven.borrow()).clone());
        }
        self.0
            .engine
            .log()
            .read(id)
            .await?
            .map(|found| found.body)
            .ok_or_else(|| Error::NoSuchOperation(format!("operations/{id}")))
    }

    async fn show(&self, id: &str, operation: &operations::Operation) -> Result<Operation, Error> {
        show(&self.0, id, operation, Detail::Whole).await
    }
}

#[tonic::async_trait]
impl Operations for OperationsApi {
    async fn list_operations(
        &self,
        request: Request<ListOperationsRequest>,
    ) -> Result<Response<ListOperationsResponse>, Status> {
        Caller::of(&request)?.require_admin()?;
        let request = request.into_inner();
        if !request.name.is_empty() && request.name != "operations" {
            return Err(status::invalid_field(
                "name",
                "is no collection; use operations, or leave it out",
            ));
        }
        let kinds: Vec<&str> = operations::Work::kinds()
            .iter()
            .flat_map(|kind| kind.contract_names)
            .copied()
            .collect();
        let filter = OperationFilter::parse(&request.filter, &kinds)
            .map_err(|wrong| status::invalid_field("filter", wrong))?;
        let size = match usize::try_from(request.page_size) {
            Ok(0) => DEFAULT_PAGE,
            Ok(size) => size.min(LARGEST_PAGE),
            Err(_) => {
                return Err(status::invalid_field(
                    "page_size",
                    "is negative; use 0 for the default, or 1 to 1000",
                ));
            }
        };
        let page =
            list_operations::list(&self.0.engine, &request.page_token, size, &filter).await?;
        // A list shows the state of operations; their results are read by name.
        let mut operations = Vec::with_capacity(page.operations.len());
        for found in &page.operations {
            operations.push(show(&self.0, &found.id, &found.body, Detail::Listed).await?);
        }
        Ok(Response::new(ListOperationsResponse {
            operations,
            next_page_token: page.next.unwrap_or_default(),
        }))
    }

    async fn get_operation(
        &self,
        request: Request<GetOperationRequest>,
    ) -> Result<Response<Operation>, Status> {
        Caller::of(&request)?.require_admin()?;
        let id = self.id_of(&request.into_inner().name).await?;
        let operation = self.read(&id).await?;
        Ok(Response::new(self.show(&id, &operation).await?))
    }

    async fn wait_operation(
        &self,
        request: Request<WaitOperationRequest>,
    ) -> Result<Response<Operation>, Status> {
        Caller::of(&request)?.require_admin()?;
        let request = request.into_inner();
        let timeout = match request.timeout {
            None => WAIT,
            Some(timeout) => Duration::try_from(timeout).map_err(|_| {
                status::invalid_field("timeout", "is negative; give a time such as 30s")
            })?,
        };
        let id = self.id_of(&request.name).await?;
        let mut states = std::pin::pin!(follow(self.0.engine.clone(), id.clone()));
        let end = tokio::time::sleep(timeout);
        tokio::pin!(end);
        let mut last = None;
        loop {
            tokio::select! {
                state = states.next() => match state {
                    Some(state) => last = Some(state?),
                    None => break,
                },
                () = &mut end => break,
            }
        }
        let state = match last {
            Some(state) => (*state).clone(),
            None => self.read(&id).await?,
        };
        Ok(Response::new(self.show(&id, &state).await?))
    }

    async fn delete_operation(
        &self,
        request: Request<DeleteOperationRequest>,
    ) -> Result<Response<()>, Status> {
        Caller::of(&request)?.require_admin()?;
        let id = self.id_of(&request.into_inner().name).await?;
        forget(&self.0.engine, &id).await?;
        Ok(Response::new(()))
    }

    async fn cancel_operation(
        &self,
        request: Request<CancelOperationRequest>,
    ) -> Result<Response<()>, Status> {
        Caller::of(&request)?.require_admin()?;
        let id = self.id_of(&request.into_inner().name).await?;
        cancel(&self.0.engine, &id).await?;
        Ok(Response::new(()))
    }
}

#[tonic::async_trait]
impl OperationService for OperationsApi {
    type WatchOperationStream = Pin<Box<dyn Stream<Item = Result<Operation, Status>> + Send>>;

    async fn watch_operation(
        &self,
        request: Request<WatchOperationRequest>,
    ) -> Result<Response<Self::WatchOperationStream>, Status> {
        Caller::of(&request)?.require_admin()?;
        let id = self.id_of(&request.into_inner().name).await?;
        // An unknown operation is an error of the call itself, not of the stream.
        let _ = self.read(&id).await?;
        let api = self.clone();
        let states = follow(self.0.engine.clone(), id.clone()).then(move |state| {
            let (api, id) = (api.clone(), id.clone());
            async move { Ok(api.show(&id, &*state?).await?) }
        });
        Ok(Response::new(Box::pin(states)))
    }

    async fn retry_operation(
        &self,
        request: Request<RetryOperationRequest>,
    ) -> Result<Response<Operation>, Status> {
        Caller::of(&request)?.require_admin()?;
        let id = self.id_of(&request.into_inner().name).await?;
        let operation = retry(&self.0.engine, &id).await?;
        Ok(Response::new(self.show(&id, &operation).await?))
    }
}
