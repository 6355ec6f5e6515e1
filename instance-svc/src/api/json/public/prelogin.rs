//! `/public/prelogin`: what a client has to know before its user logs in.

use axum::{
    extract::State,
    response::{IntoResponse as _, Response},
};
use http::StatusCode;
use serde_json::{Value, json};

use super::bearer::Refusal;
use crate::{
    api::{
        Shared,
        pages::{Asked, json_answer},
    },
    domain::{claim::NameKind, passphrase::client::Iterations},
    error::Error,
};

/// Tells how the passphrase is hashed, and whose instance it is.
pub(super) async fn show(State(shared): State<Shared>, asked: Asked) -> Response {
    match tell(&shared, &asked).await {
        Ok(response) => response,
        Err(error) => Refusal::from(error).into_response(),
    }
}

async fn tell(shared: &Shared, asked: &Asked) -> Result<Response, Error> {
    let found = shared
        .store
        .found(&asked.tenant.id, NameKind::Domain)
        .await?
        .ok_or_else(|| Error::NoSuchInstance(asked.tenant.domain.clone()))?;
    let document = &found.document.body;
    if !document.onboarding_finished {
        let told = json!({"error": "the instance has not been onboarded"});
        return Ok(json_answer(StatusCode::PRECONDITION_FAILED, &told));
    }
    let stored = shared.log_in().stored(document).await?;
    let settings = found.settings.as_ref();
    let name = settings.and_then(|it| it.body.get("public_name"));
    let told = json!({
        "Kdf": 0,
        "KdfIterations": stored.iterations.map_or(0, Iterations::get),
        "OIDC": false,
        "FranceConnect": false,
        "magic_link": document.magic_link,
        "locale": document.locale,
        "name": name.and_then(Value::as_str).unwrap_or_default()
    });
    Ok(json_answer(StatusCode::OK, &told))
}
