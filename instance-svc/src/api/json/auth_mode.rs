//! `POST /instances/{domain}/auth-mode`.

use axum::{
    body::Bytes,
    extract::State,
    response::{IntoResponse as _, Response},
};
use hamlet_proto::hamlet::instance::v1::{Instance, instance::AuthMode};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use service_kit::json_api::{Administrator, Error, Json, Segments};
use utoipa::ToSchema;

use super::{
    change::make,
    operation::OperationAnswer,
    settings::auth_mode,
    show::find,
    write::{Outcome, Write, WriteHeaders},
};
use crate::{api::Shared, messages};

/// How the owner is to log in.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub(super) struct AuthModeBody {
    /// `basic`, `two_factor_mail` or `two_factor_oidc`.
    auth_mode: String,
}

fn bad(detail: impl Into<String>) -> Error {
    Error::new(StatusCode::BAD_REQUEST, "INVALID_FIELD", detail)
}

/// Chooses how the owner of an instance logs in.
#[utoipa::path(
    post,
    path = "/instances/{domain}/auth-mode",
    operation_id = "choose_auth_mode",
    tag = "instances",
    params(
        ("domain" = String, Path, description = "The domain of the instance, or an alias"),
        WriteHeaders
    ),
    request_body(content = AuthModeBody, content_type = "application/json"),
    responses(
        (status = 204, description = "The mode has changed"),
        (status = 200, description = "It was that mode already", body = String, content_type = "application/json"),
        (status = 202, description = "The operation", body = OperationAnswer, content_type = "application/vnd.api+json"),
    )
)]
pub(super) async fn choose(
    State(shared): State<Shared>,
    Administrator(caller): Administrator,
    Segments(domain): Segments<String>,
    write: Write,
    body: Bytes,
) -> Result<Response, Error> {
    let found = find(&shared, &domain).await?;
    let asked: AuthModeBody = serde_json::from_slice(&body)
        .map_err(|wrong| bad(format!("the body is no object with an auth_mode: {wrong}")))?;
    let name = asked.auth_mode;
    let mode = auth_mode(&name).ok_or_else(|| {
        bad(format!(
            "{name:?} is no mode; use basic, two_factor_mail or two_factor_oidc"
        ))
    })?;
    if messages::instance(&found).auth_mode() == mode {
        let told = format!("the instance has the mode {name} already");
        return Ok(Json(told).into_response());
    }
    let instance = changed(mode);
    let paths = vec!["auth_mode".to_owned()];
    let outcome = make(&shared, &caller, &domain, instance, paths, &write).await?;
    Ok(match outcome {
        Outcome::Begun(response) => response,
        Outcome::Done(_) => StatusCode::NO_CONTENT.into_response(),
    })
}

fn changed(mode: AuthMode) -> Instance {
    Instance {
        auth_mode: mode.into(),
        ..Instance::default()
    }
}
