//! `/settings/sessions`: where the owner is logged in.

use axum::{
    extract::State,
    response::{IntoResponse as _, Response},
};
use http::StatusCode;
use serde_json::{Value, json};
use service_kit::{
    json_api::{self, JsonApi, Segments},
    rights::Verb,
};

use super::bearer::{Bearer, Refusal};
use crate::{
    actions::{end_sessions::end_one, list_sessions::list_sessions},
    api::Shared,
};

const DOCTYPE: &str = "io.cozy.sessions";

/// Lists the sessions, the one used last first.
pub(super) async fn list(
    State(shared): State<Shared>,
    bearer: Bearer,
) -> Result<JsonApi<Value>, Refusal> {
    bearer.token.require(DOCTYPE, Verb::Get)?;
    let document = &bearer.token.found.document.body;
    let sessions = list_sessions(&shared.store, &shared.clock, document).await?;
    let sessions: Vec<Value> = sessions
        .into_iter()
        .map(|it| {
            let session = it.session;
            // Where it was begun, which is in another document.
            let login = it
                .login
                .map(|login| json!({"browser": login.browser, "os": login.os, "ip": login.ip}));
            json!({
                "type": DOCTYPE, "id": session.id, "attributes": session.body,
                "meta": {"rev": session.rev.as_str(), "login": login},
                "links": {"self": format!("/settings/sessions/{}", session.id)}
            })
        })
        .collect();
    let document = json!({"data": sessions, "meta": {"count": sessions.len()}});
    Ok(JsonApi(StatusCode::OK, document))
}

/// Ends a session.
pub(super) async fn end(
    State(shared): State<Shared>,
    bearer: Bearer,
    Segments(id): Segments<String>,
) -> Result<Response, Refusal> {
    bearer.token.require(DOCTYPE, Verb::Delete)?;
    let document = &bearer.token.found.document.body;
    if end_one(&shared.store, document, &id).await? {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let told = "there is no such session; it may have ended";
    Ok(json_api::Error::new(StatusCode::NOT_FOUND, "NO_SUCH_SESSION", told).into_response())
}
