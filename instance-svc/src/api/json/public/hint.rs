//! `/settings/hint`: what helps the owner to remember the passphrase.

use axum::{
    body::Bytes,
    extract::State,
    response::{IntoResponse as _, Response},
};
use couch::Exchange;
use http::StatusCode;
use serde::Deserialize;
use service_kit::{json_api, rights::Verb, secret::Secret};

use super::bearer::{Bearer, Refusal};
use crate::{
    api::{Shared, json::parameters::refused, pages::Asked},
    domain::passphrase::credentials::check_hint,
    error::Error,
};

const DOCTYPE: &str = "io.cozy.settings";

#[derive(Deserialize)]
struct Hint {
    #[serde(default)]
    hint: String,
}

/// Tells whether there is one. It is never shown: it comes by mail.
pub(super) async fn check(
    State(shared): State<Shared>,
    bearer: Bearer,
) -> Result<StatusCode, Refusal> {
    bearer.token.require(DOCTYPE, Verb::Get)?;
    let stored = shared
        .log_in()
        .stored(&bearer.token.found.document.body)
        .await?;
    Ok(if stored.hint.is_empty() {
        StatusCode::NOT_FOUND
    } else {
        StatusCode::NO_CONTENT
    })
}

/// Sets it.
pub(super) async fn set(
    State(shared): State<Shared>,
    bearer: Bearer,
    asked: Asked,
    body: Bytes,
) -> Result<Response, Refusal> {
    bearer.token.require(DOCTYPE, Verb::Put)?;
    let Ok(Hint { hint }) = serde_json::from_slice(&body) else {
        let told = "the body is no object with a hint";
        let wrong = json_api::Error::new(StatusCode::BAD_REQUEST, "INVALID_BODY", told);
        return Ok(wrong.into_response());
    };
    let document = &bearer.token.found.document.body;
    check_hint(&hint, "").map_err(Error::from)?;
    // Whoever asks for the hint must not get the passphrase. The comparison is a try to guess it.
    let guesser = asked.guesser(document);
    let compared = shared
        .log_in()
        .require(document, &Secret::new(hint.as_str()), guesser)
        .await;
    match compared {
        Err(Error::WrongPassphrase) => {}
        Ok(()) => {
            let wrong = check_hint(&hint, &hint).map_err(Error::from);
            return Ok(match wrong {
                Err(error) => refused(error).into_response(),
                // The empty hint is the hash of nothing.
                Ok(()) => StatusCode::NO_CONTENT.into_response(),
            });
        }
        Err(error) => return Err(error.into()),
    }
    write(&shared, &bearer, &hint).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn write(shared: &Shared, bearer: &Bearer, hint: &str) -> Result<(), Error> {
    let location = bearer.token.found.document.body.location();
    loop {
        let found = shared.store.vault_settings(location).await?;
        let (rev, mut settings) = match found {
            Some(found) => (Some(found.rev), found.body),
            None => (None, serde_json::Map::new()),
        };
        if hint.is_empty() {
            settings.shift_remove("passphrase_hint");
        } else {
            settings.insert("passphrase_hint".to_owned(), hint.into());
        }
        let written = shared
            .store
            .write_vault_settings(location, rev.as_ref(), &settings);
        match written.await? {
            Exchange::Won(_) => return Ok(()),
            // Another writer changed the settings meanwhile: the hint is added to what it wrote.
            Exchange::Lost => {}
        }
    }
}
