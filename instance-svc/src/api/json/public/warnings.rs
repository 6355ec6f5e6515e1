//! `GET /settings/warnings`: what the owner is to know before something is refused. Apps show it.
//!
//! Clients expect the answer in the form of a refusal: the status of the first warning, or 404 when there is none.

use axum::extract::State;
use http::StatusCode;
use serde_json::{Value, json};
use service_kit::json_api::JsonApi;

use super::bearer::Bearer;
use crate::{api::Shared, domain::tos};

/// Shows the warnings. Every token of the instance opens them.
pub(super) async fn show(State(shared): State<Shared>, bearer: Bearer) -> JsonApi<Value> {
    let document = &bearer.token.found.document.body;
    let today = shared.clock.now().day();
    match tos::holds_from(&document.tos_latest, &document.tos, today) {
        Some(day) => {
            let status = StatusCode::PAYMENT_REQUIRED;
            let detail = format!(
                "The terms of service have a new version, which holds from {day} on. The owner has not signed it."
            );
            let warning = json!({
                "status": status.as_str(), "title": "TOS Updated", "code": "tos-updated", "detail": detail,
                "source": {}, "links": {}
            });
            JsonApi(status, json!({"errors": [warning]}))
        }
        None => JsonApi(StatusCode::NOT_FOUND, json!({"errors": []})),
    }
}
