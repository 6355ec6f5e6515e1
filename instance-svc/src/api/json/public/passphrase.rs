//! `PUT /settings/passphrase`: setting the passphrase without the present one.

use axum::{
    body::Bytes,
    extract::State,
    response::{IntoResponse as _, Response},
};
use hamlet_proto::hamlet::instance::v1::SetPassphraseRequest;
use http::StatusCode;
use serde::Deserialize;
use service_kit::{json_api, secret::Secret};

use super::bearer::{Bearer, Refusal};
use crate::api::{
    Shared,
    json::{
        parameters::refusal,
        write::{Outcome, Write},
    },
    passphrase,
};

#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    new_passphrase: String,
    #[serde(default)]
    force: bool,
    /// How often the client hashed the passphrase; 0 for a plain one.
    #[serde(default)]
    iterations: i64,
}

/// Sets the passphrase.
pub(super) async fn set(
    State(shared): State<Shared>,
    bearer: Bearer,
    write: Write,
    body: Bytes,
) -> Result<Response, Refusal> {
    bearer.token.require("io.cozy.settings", "PUT")?;
    let refused = |error: json_api::Error| Ok(error.into_response());
    let Ok(asked) = serde_json::from_slice::<Asked>(&body) else {
        // What the parser says may hold a part of the passphrase.
        return refused(json_api::Error::new(
            StatusCode::BAD_REQUEST,
            "INVALID_BODY",
            "the body is no object with a new_passphrase",
        ));
    };
    if !asked.force || asked.iterations != 0 {
        return refused(json_api::Error::not_built(
            "this version sets a plain passphrase with force only",
        ));
    }
    let passphrase = Secret::new(asked.new_passphrase);
    let request = SetPassphraseRequest {
        name: format!("instances/{}", bearer.token.found.document.body.domain),
        passphrase: passphrase.expose().to_owned(),
        request_id: write.request_id.clone(),
        ..SetPassphraseRequest::default()
    };
    let begun = match passphrase::set(&shared, request).await {
        Ok(operation) => write.end(&shared, operation).await,
        Err(status) => Err(refusal(status)),
    };
    match begun {
        Ok(Outcome::Begun(response)) => Ok(response),
        Ok(Outcome::Done(_)) => Ok(StatusCode::NO_CONTENT.into_response()),
        Err(error) => refused(error),
    }
}
