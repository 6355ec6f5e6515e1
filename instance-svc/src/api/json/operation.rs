//! `/operations/{id}`: what a write that was not waited for comes to.

use axum::extract::State;
use hamlet_proto::{
    google::longrunning::{
        self, GetOperationRequest, operation::Result as Ended, operations_server::Operations as _,
    },
    hamlet::instance::v1::{OperationMetadata, operation_metadata, step},
};
use http::StatusCode;
use prost::Message as _;
use serde::Serialize;
use service_kit::json_api::{Administrator, Error, JsonApi, Segments};
use utoipa::ToSchema;

use super::parameters::refusal;
use crate::api::{Shared, operations::OperationsApi};

/// The document of one operation.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct OperationAnswer {
    /// The operation.
    data: OperationResource,
}

/// An operation.
#[derive(Debug, Serialize, ToSchema)]
struct OperationResource {
    /// Always `operations`.
    #[serde(rename = "type")]
    kind: &'static str,
    /// Its id.
    id: String,
    /// Its state.
    attributes: OperationState,
    /// Where it is.
    links: OperationLink,
}

/// Where an operation is.
#[derive(Debug, Serialize, ToSchema)]
struct OperationLink {
    /// Its path.
    #[serde(rename = "self")]
    path: String,
}

/// The state of an operation.
#[derive(Debug, Default, Serialize, ToSchema)]
struct OperationState {
    /// Whether it has ended.
    done: bool,
    /// What it does, such as `create`.
    kind: String,
    /// The domain of its instance.
    domain: String,
    /// `queued`, `running`, `waiting`, `unwinding` or `done`.
    phase: String,
    /// The step that runs now.
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<String>,
    /// Warnings for the administrator.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl OperationAnswer {
    pub(super) fn new(operation: &longrunning::Operation) -> Self {
        let metadata = operation
            .metadata
            .as_ref()
            .and_then(|any| OperationMetadata::decode(any.value.as_slice()).ok())
            .unwrap_or_default();
        let running =
            |it: &&hamlet_proto::hamlet::instance::v1::Step| it.state() == step::State::Running;
        let error = match &operation.result {
            Some(Ended::Error(failed)) => Some(failed.message.clone()),
            Some(Ended::Response(_)) | None => None,
        };
        let phase = match metadata.phase() {
            operation_metadata::Phase::Unspecified => "",
            operation_metadata::Phase::Queued => "queued",
            operation_metadata::Phase::Running => "running",
            operation_metadata::Phase::Waiting => "waiting",
            operation_metadata::Phase::Unwinding => "unwinding",
            operation_metadata::Phase::Done => "done",
        };
        let name = &operation.name;
        Self {
            data: OperationResource {
                kind: "operations",
                id: name.strip_prefix("operations/").unwrap_or(name).to_owned(),
                attributes: OperationState {
                    done: operation.done,
                    phase: phase.to_owned(),
                    step: metadata
                        .steps
                        .iter()
                        .find(running)
                        .map(|it| it.name.clone()),
                    kind: metadata.kind,
                    domain: metadata.domain,
                    warnings: metadata.warnings,
                    error,
                },
                links: OperationLink {
                    path: format!("/{name}"),
                },
            },
        }
    }

    pub(super) fn path(&self) -> &str {
        &self.data.links.path
    }
}

/// Shows an operation.
///
/// Operations are kept some time after their end.
#[utoipa::path(
    get,
    path = "/operations/{id}",
    operation_id = "show_operation",
    tag = "installation",
    params(("id" = String, Path, description = "The id of the operation")),
    responses(
        (status = 200, description = "The operation", body = OperationAnswer, content_type = "application/vnd.api+json"),
    )
)]
pub(super) async fn show(
    State(shared): State<Shared>,
    Administrator(caller): Administrator,
    Segments(id): Segments<String>,
) -> Result<JsonApi<OperationAnswer>, Error> {
    let request = GetOperationRequest {
        name: format!("operations/{id}"),
    };
    let found = OperationsApi(shared)
        .get_operation(caller.call(request))
        .await
        .map_err(refusal)?;
    let answer = OperationAnswer::new(found.get_ref());
    Ok(JsonApi(StatusCode::OK, answer))
}
