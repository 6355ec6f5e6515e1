//! `DELETE /instances/{domain}/sessions`.

use axum::{
    extract::State,
    response::{IntoResponse as _, Response},
};
use hamlet_proto::hamlet::instance::v1::{
    CleanSessionsRequest, instance_service_server::InstanceService as _,
};
use http::StatusCode;
use service_kit::json_api::{Administrator, Error, Segments};

use super::{
    operation::OperationAnswer,
    parameters::refusal,
    write::{Outcome, Write, WriteHeaders},
};
use crate::api::{Shared, instances::Instances};

/// Ends all sessions of an instance.
#[utoipa::path(
    delete,
    path = "/instances/{domain}/sessions",
    operation_id = "clean_sessions",
    tag = "instances",
    params(
        ("domain" = String, Path, description = "The domain of the instance, or an alias"),
        WriteHeaders
    ),
    responses(
        (status = 204, description = "No session is left"),
        (status = 202, description = "The operation", body = OperationAnswer, content_type = "application/vnd.api+json"),
    )
)]
pub(super) async fn clean(
    State(shared): State<Shared>,
    Administrator(caller): Administrator,
    Segments(domain): Segments<String>,
    write: Write,
) -> Result<Response, Error> {
    let request = CleanSessionsRequest {
        name: format!("instances/{domain}"),
        request_id: write.request_id.clone(),
        ..CleanSessionsRequest::default()
    };
    let operation = Instances(shared.clone())
        .clean_sessions(caller.call(request))
        .await
        .map_err(refusal)?;
    Ok(match write.end(&shared, operation.into_inner()).await? {
        Outcome::Begun(response) => response,
        Outcome::Done(_) => StatusCode::NO_CONTENT.into_response(),
    })
}
