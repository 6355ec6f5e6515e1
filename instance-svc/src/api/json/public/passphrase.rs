//! `/settings/passphrase`: how it is hashed, and changing it.

use axum::{
    body::Bytes,
    extract::State,
    response::{IntoResponse as _, Response},
};
use hamlet_proto::hamlet::instance::v1::SetPassphraseRequest;
use http::StatusCode;
use identity::{second_factor::Purpose, session::Kind};
use serde::Deserialize;
use serde_json::{Value, json};
use service_kit::{
    json_api::{self, JsonApi},
    rights::Verb,
    secret::Secret,
};

use super::{
    bearer::{Bearer, Refusal},
    settings::resource,
};
use crate::{
    actions::{
        authenticate::ProvenWith, begin_session::begin_session, change_passphrase::Next,
        second_factor::Cleared,
    },
    api::{
        Shared,
        json::{
            parameters::refusal,
            write::{Outcome, Write},
        },
        pages::{Asked, json_answer, with_cookies},
        passphrase,
    },
    domain::{
        bearer::Refused,
        instance::InstanceDocument,
        passphrase::client::{self, Iterations},
    },
    error::Error,
    mail::MailKind,
};

const DOCTYPE: &str = "io.cozy.settings";

#[derive(Default, Deserialize)]
#[serde(default)]
struct Change {
    current_passphrase: String,
    new_passphrase: String,
    /// Sets the passphrase without the present one.
    force: bool,
    /// How often the client hashed the passphrase; 0 for a plain one.
    iterations: i32,
    key: String,
    #[serde(rename = "publicKey")]
    public_key: String,
    #[serde(rename = "privateKey")]
    private_key: String,
    /// What was mailed, where the instance asks for a second factor.
    two_factor_token: String,
    two_factor_passcode: String,
}

/// Tells how the passphrase is hashed.
pub(super) async fn show(
    State(shared): State<Shared>,
    bearer: Bearer,
) -> Result<JsonApi<Value>, Refusal> {
    bearer.token.require(DOCTYPE, Verb::Get)?;
    let document = &bearer.token.found.document.body;
    let stored = shared.log_in().stored(document).await?;
    let attributes = json!({
        "salt": client::salt(&document.domain, &document.old_domain),
        "kdf": 0,
        "iterations": stored.iterations.map_or(0, Iterations::get)
    });
    Ok(resource("passphrase", &attributes, &json!({})))
}

/// Sets the passphrase: with the present one, or by force.
pub(super) async fn set(
    State(shared): State<Shared>,
    bearer: Bearer,
    asked: Asked,
    write: Write,
    body: Bytes,
) -> Result<Response, Refusal> {
    bearer.token.require(DOCTYPE, Verb::Put)?;
    let Ok(change) = serde_json::from_slice::<Change>(&body) else {
        // What the parser says may hold a part of the passphrase.
        let told = "the body is no object with a new_passphrase";
        let wrong = json_api::Error::new(StatusCode::BAD_REQUEST, "INVALID_BODY", told);
        return Ok(wrong.into_response());
    };
    if change.force {
        return by_force(&shared, &bearer, &write, change).await;
    }
    let found = &bearer.token.found;
    let present = Secret::new(change.current_passphrase);
    let next = if change.iterations == 0 {
        Next::Plain(Secret::new(change.new_passphrase))
    } else {
        passphrase::hashed(
            change.new_passphrase,
            change.iterations,
            &change.key,
            &change.public_key,
            &change.private_key,
        )?
    };
    // Its etag has to be that of all documents.
    let whole = shared.store.found(&found.id, found.kind).await;
    let whole = whole
        .map_err(Error::from)?
        .ok_or(Error::Token(Refused::Wrong))?;
    let document = &whole.document.body;
    let guesser = asked.guesser(document);
    let cleared = match Cleared::by_passphrase(document) {
        Some(cleared) => cleared,
        None if change.two_factor_token.is_empty() => {
            return first_step(&shared, &asked, document, &present).await;
        }
        None => shared.second_factor().answer(
            document,
            Purpose::ChangePassphrase,
            &change.two_factor_token,
            &change.two_factor_passcode,
        )?,
    };
    passphrase::change(&shared, &whole, &present, next, guesser).await?;
    let response = StatusCode::NO_CONTENT.into_response();
    if bearer.token.who.session.is_empty() {
        return Ok(response);
    }
    log_in(&shared, &asked, response, cleared).await
}

/// Mails a code to the owner who has shown the present passphrase. The answer holds the token with which the second request
/// brings the code.
async fn first_step(
    shared: &Shared,
    asked: &Asked,
    document: &InstanceDocument,
    present: &Secret,
) -> Result<Response, Refusal> {
    let guesser = asked.guesser(document);
    shared.log_in().require(document, present, guesser).await?;
    let occasion = asked.occasion(document, MailKind::PassphraseCode);
    let factor = shared.second_factor();
    let token = factor
        .mail_code(document, Purpose::ChangePassphrase, occasion)
        .await?;
    let told = json!({"two_factor_token": token});
    Ok(json_answer(StatusCode::OK, &told))
}

/// The session of the app has ended with the passphrase: its browser gets a new one.
async fn log_in(
    shared: &Shared,
    asked: &Asked,
    response: Response,
    cleared: Cleared,
) -> Result<Response, Refusal> {
    let document = shared.store.instance(&asked.tenant.id).await;
    let document = document
        .map_err(Error::from)?
        .ok_or(Error::Token(Refused::Wrong))?
        .body;
    let begun = begin_session(
        &shared.store,
        &shared.clock,
        &shared.contexts,
        &document,
        Kind::Long,
        &asked.visitor(),
        cleared,
    )
    .await?;
    let cookies = asked.cookies_of(shared, &document, &begun)?;
    Ok(with_cookies(response, cookies))
}

/// Sets a plain passphrase without the present one, as administrators do with a token of the command line.
async fn by_force(
    shared: &Shared,
    bearer: &Bearer,
    write: &Write,
    change: Change,
) -> Result<Response, Refusal> {
    let refused = |error: json_api::Error| Ok(error.into_response());
    if bearer.token.who.proven_with != ProvenWith::Cli {
        return Err(Error::Token(Refused::Scope).into());
    }
    if change.iterations != 0 {
        return refused(json_api::Error::not_built(
            "this version sets a plain passphrase by force only",
        ));
    }
    let request = SetPassphraseRequest {
        name: format!("instances/{}", bearer.token.found.document.body.domain),
        passphrase: change.new_passphrase,
        request_id: write.request_id.clone(),
        ..SetPassphraseRequest::default()
    };
    let begun = match passphrase::set(shared, request).await {
        Ok(operation) => write.end(shared, operation).await,
        Err(status) => Err(refusal(status)),
    };
    match begun {
        Ok(Outcome::Begun(response)) => Ok(response),
        Ok(Outcome::Done(_)) => Ok(StatusCode::NO_CONTENT.into_response()),
        Err(error) => refused(error),
    }
}
