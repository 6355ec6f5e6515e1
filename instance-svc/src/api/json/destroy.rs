//! `DELETE /instances/{domain}`.

use axum::{
    extract::State,
    response::{IntoResponse as _, Response},
};
use hamlet_proto::hamlet::instance::v1::{
    DeleteInstanceRequest, instance_service_server::InstanceService as _,
};
use http::StatusCode;
use service_kit::json_api::{Administrator, Error, Segments};

use super::{
    operation::OperationAnswer,
    parameters::refusal,
    write::{Outcome, Write, WriteHeaders},
};
use crate::api::{Shared, instances::Instances};

/// Destroys an instance.
///
/// It has to be named by its main domain, not by an alias.
#[utoipa::path(
    delete,
    path = "/instances/{domain}",
    operation_id = "destroy_instance",
    tag = "instances",
    params(
        ("domain" = String, Path, description = "The main domain of the instance"),
        WriteHeaders
    ),
    responses(
        (status = 204, description = "Nothing is left of it"),
        (status = 202, description = "The operation", body = OperationAnswer, content_type = "application/vnd.api+json"),
    )
)]
pub(super) async fn destroy(
    State(shared): State<Shared>,
    Administrator(caller): Administrator,
    Segments(domain): Segments<String>,
    write: Write,
) -> Result<Response, Error> {
    let request = DeleteInstanceRequest {
        name: format!("instances/{domain}"),
        request_id: write.request_id.clone(),
        ..DeleteInstanceRequest::default()
    };
    let operation = Instances(shared.clone())
        .delete_instance(caller.call(request))
        .await
        .map_err(refusal)?;
    Ok(match write.end(&shared, operation.into_inner()).await? {
        Outcome::Begun(response) => response,
        Outcome::Done(_) => StatusCode::NO_CONTENT.into_response(),
    })
}
