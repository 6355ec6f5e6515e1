//! Choosing a passphrase with the token of a link: the first one, or a new one when the owner has forgotten it.

use std::time::{Duration, Instant};

use axum::{
    body::Body,
    extract::State,
    response::{IntoResponse as _, Response},
};
use hamlet_pages::{PassphraseForm, origin};
use hamlet_proto::hamlet::instance::v1::{CheckRegisterTokenRequest, PassphraseParameters};
use http::StatusCode;
use identity::{passphrase::client::Iterations, session::Kind};
use serde_json::json;
use service_kit::{
    json_api,
    status::{reason, reasons},
};
use tonic::Status;
use tonic_types::StatusExt as _;

use super::{
    Asked, document,
    entry::Entry,
    is_onboarding,
    login::refuse_body,
    reply::{Shown, see_other},
    resend,
    settings::cross_site,
    submission::Submission,
};
use crate::{
    actions::register_passphrase::Link,
    api::{Shared, passphrase as handlers},
    domain::instance::InstanceDocument,
    error::Error,
};

/// The page on which a passphrase is chosen.
const CHOOSE_PATH: &str = "/auth/passphrase";

/// Why a passphrase was not set.
#[derive(Debug)]
enum Refused {
    /// The register token is not made of hex digits.
    Malformed,
    /// It is not the one of the instance.
    Wrong,
    /// The passphrase has been chosen already.
    Used,
    /// It has expired.
    Expired,
    /// A field is wrong: its name in the contract, and what is wrong with it.
    Field(String, String),
    /// The passphrase is too easy to guess: what is wrong with it.
    Weak(String),
    /// There were too many tries: how long to wait.
    Slowed(Duration),
    /// Something else.
    Failed(Status),
}

impl From<Status> for Refused {
    fn from(status: Status) -> Self {
        let reason = reason(&status);
        let is_weak = reason.as_deref() == Some(reasons::PASSPHRASE_WEAK);
        match reason.as_deref() {
            Some(reasons::REGISTER_TOKEN_WRONG) => return Self::Wrong,
            Some(reasons::REGISTER_TOKEN_USED) => return Self::Used,
            Some(reasons::REGISTER_TOKEN_EXPIRED) => return Self::Expired,
            _ => {}
        }
        let violations = status
            .get_details_bad_request()
            .map(|wrong| wrong.field_violations);
        match violations.and_then(|wrong| wrong.into_iter().next()) {
            Some(wrong) if wrong.field == "register_token" => Self::Malformed,
            Some(wrong) if is_weak => Self::Weak(wrong.description),
            Some(wrong) => Self::Field(wrong.field, wrong.description),
            None => Self::Failed(status),
        }
    }
}

/// What an owner needs to know who has not got the link, or has not opened it.
pub(super) fn waiting(shared: &Shared, asked: &Asked) -> Response {
    let domain = &asked.tenant.domain;
    let shown = Shown {
        document: Some(json!({"data": {
            "type": "hamlet.tenants",
            "id": domain,
            "attributes": {"domain": domain, "onboarding": true},
        }})),
        // Programs get the document: the form is for people.
        more: if asked.wants_page() {
            resend::form(shared, asked)
        } else {
            String::new()
        },
        ..Shown::error("waiting", StatusCode::OK, "")
    };
    asked.page(shared, &shown)
}

/// The front page of an instance that waits for its owner: the target of the link.
pub(super) async fn begin(shared: &Shared, asked: &Asked, document: &InstanceDocument) -> Response {
    let Some(token) = asked.parameter("registerToken") else {
        return waiting(shared, asked);
    };
    match check(shared, asked, document, Link::Register, &token).await {
        // The query is passed on unchanged.
        Ok(_) => see_other(&asked.url(shared, &format!("{CHOOSE_PATH}?{}", asked.query))),
        Err(refused) => closed(shared, asked, refused),
    }
}

/// Checks a token, which counts as a try to guess one.
async fn check(
    shared: &Shared,
    asked: &Asked,
    document: &InstanceDocument,
    link: Link,
    token: &str,
) -> Result<PassphraseParameters, Refused> {
    let guesser = asked.guesser(document);
    begin_try(shared, asked, document)?;
    let request = CheckRegisterTokenRequest {
        register_token: token.to_owned(),
    };
    let checked = handlers::check(shared, &asked.tenant.id, link, &request).await?;
    shared.tries.was_right(guesser);
    Ok(checked)
}

fn begin_try(shared: &Shared, asked: &Asked, document: &InstanceDocument) -> Result<(), Refused> {
    shared
        .tries
        .begin(asked.guesser(document), Instant::now())
        .map_err(Refused::Slowed)
}

/// The page for a link that is not accepted.
fn closed(shared: &Shared, asked: &Asked, refused: Refused) -> Response {
    let forbidden = StatusCode::FORBIDDEN;
    let shown = match refused {
        Refused::Malformed => Shown::error(
            "broken_link",
            StatusCode::BAD_REQUEST,
            "REGISTER_TOKEN_MALFORMED",
        ),
        Refused::Wrong | Refused::Used => {
            Shown::error("dead_link", forbidden, reasons::REGISTER_TOKEN_WRONG)
        }
        Refused::Expired => {
            Shown::error("expired_link", forbidden, reasons::REGISTER_TOKEN_EXPIRED)
        }
        Refused::Slowed(wait) => return asked.failed(shared, Error::TooManyTries { wait }),
        Refused::Failed(status) => return asked.failed(shared, Error::Service(status)),
        Refused::Field(..) | Refused::Weak(_) => {
            Shown::error("out_of_reach", StatusCode::SERVICE_UNAVAILABLE, "TRY_AGAIN")
        }
    };
    asked.page(shared, &shown)
}

/// `GET /auth/passphrase`: the page with the form.
pub(super) async fn show(State(shared): State<Shared>, asked: Asked) -> Response {
    let document = match document(&shared, &asked).await {
        Ok(found) => found.body,
        Err(error) => return asked.failed(&shared, error),
    };
    if !is_onboarding(&document) {
        return match asked.landing(&shared, &document).await {
            Ok(location) => see_other(&location),
            Err(error) => asked.failed(&shared, error),
        };
    }
    let Some(token) = asked.parameter("registerToken") else {
        return waiting(&shared, &asked);
    };
    choose(&shared, &asked, &document, Link::Register, &token, "", None).await
}

/// `GET /auth/passphrase_renew`: the page with the form to choose a new passphrase.
pub(super) async fn renew(State(shared): State<Shared>, asked: Asked) -> Response {
    let document = match document(&shared, &asked).await {
        Ok(found) => found.body,
        Err(error) => return asked.failed(&shared, error),
    };
    let token = asked.parameter("token").unwrap_or_default();
    choose(&shared, &asked, &document, Link::Reset, &token, "", None).await
}

/// The form, if the token is valid, with the key of what was wrong.
async fn choose(
    shared: &Shared,
    asked: &Asked,
    document: &InstanceDocument,
    link: Link,
    token: &str,
    hint: &str,
    error: Option<&'static str>,
) -> Response {
    let parameters = match check(shared, asked, document, link, token).await {
        Ok(parameters) => parameters,
        Err(refused) => return closed(shared, asked, refused),
    };
    let (path, field, key) = match link {
        Link::Register => ("/settings/passphrase", "register_token", "choose"),
        Link::Reset => ("/auth/passphrase_renew", "passphrase_reset_token", "renew"),
    };
    let form = PassphraseForm {
        path,
        field,
        domain: &asked.tenant.domain,
        token,
        salt: &parameters.salt,
        iterations: parameters.iterations,
        hint,
        error,
    };
    let status = match error {
        None => StatusCode::OK,
        Some("error_later") => StatusCode::SERVICE_UNAVAILABLE,
        Some(_) => StatusCode::UNPROCESSABLE_ENTITY,
    };
    let more = form.html(&shared.texts, &asked.language(shared));
    asked.page(shared, &Shown::form(key, status, more))
}

/// `POST /settings/passphrase`: sets the first passphrase, and logs its owner in.
pub(in crate::api) async fn submit(
    State(shared): State<Shared>,
    asked: Asked,
    body: Body,
) -> Response {
    set(&shared, &asked, Link::Register, body).await
}

/// `POST /auth/passphrase_renew`: sets a new passphrase.
pub(super) async fn submit_new(State(shared): State<Shared>, asked: Asked, body: Body) -> Response {
    set(&shared, &asked, Link::Reset, body).await
}

async fn set(shared: &Shared, asked: &Asked, link: Link, body: Body) -> Response {
    if !origin::is_own(&asked.headers, &asked.host) {
        return cross_site(shared, asked);
    }
    let submission = match Submission::read(&asked.headers, body).await {
        Ok(submission) => submission,
        Err(unreadable) => return refuse_body(unreadable),
    };
    let document = match document(shared, asked).await {
        Ok(found) => found.body,
        Err(error) => return asked.failed(shared, error),
    };
    match register(shared, asked, &document, link, &submission).await {
        Ok(response) => response,
        Err(refused) if asked.wants_page() => {
            let error = text_of(&submission, &refused);
            match refused {
                Refused::Field(..) | Refused::Weak(_) => {
                    let (token, hint) = (submission.token(link), &submission.hint);
                    choose(shared, asked, &document, link, token, hint, Some(error)).await
                }
                refused => closed(shared, asked, refused),
            }
        }
        Err(refused) => {
            let language = asked.language(shared);
            let say = |key| shared.texts.say(key, &language);
            refuse(&submission, refused, &language, say)
        }
    }
}

async fn register(
    shared: &Shared,
    asked: &Asked,
    document: &InstanceDocument,
    link: Link,
    submission: &Submission,
) -> Result<Response, Refused> {
    // The compatible API says first what is missing.
    if submission.passphrase.is_empty() && submission.token(link).is_empty() {
        let wrong = "is empty; give a passphrase".to_owned();
        return Err(Refused::Field("passphrase".to_owned(), wrong));
    }
    begin_try(shared, asked, document)?;
    let guesser = asked.guesser(document);
    let registered =
        handlers::register(shared, &asked.tenant, link, submission.message(link)).await;
    match registered.map_err(Refused::from) {
        Ok(()) => shared.tries.was_right(guesser),
        Err(guessed @ (Refused::Wrong | Refused::Malformed)) => return Err(guessed),
        // It was no guess.
        Err(other) => {
            shared.tries.was_right(guesser);
            return Err(other);
        }
    }
    let begun = log_in(shared, asked, &submission.redirection).await;
    begun.map_err(|error| Refused::Failed(error.into()))
}

/// Logs in who has just set the passphrase.
async fn log_in(shared: &Shared, asked: &Asked, redirection: &str) -> Result<Response, Error> {
    // Its key is another one now.
    let document = document(shared, asked).await?.body;
    // What leads elsewhere is ignored here: the passphrase is set.
    let target = asked.target(shared, redirection).unwrap_or_default();
    let entry = Entry {
        shared,
        asked,
        document: &document,
        kind: Kind::Long,
        target: target.as_deref(),
        as_json: !asked.wants_page(),
    };
    entry.after_choice().await
}

/// The key of the text that tells an owner why a passphrase was not set.
fn text_of(submission: &Submission, refused: &Refused) -> &'static str {
    match refused {
        Refused::Field(..) if submission.passphrase.is_empty() => "error_empty",
        Refused::Field(field, _) if field == "hint" && submission.repeats_passphrase() => {
            "error_hint"
        }
        Refused::Field(..) => "error_field",
        Refused::Weak(_) => "error_weak",
        Refused::Malformed
        | Refused::Wrong
        | Refused::Used
        | Refused::Expired
        | Refused::Slowed(_)
        | Refused::Failed(_) => "error_later",
    }
}

/// The error answers of the compatible API, word for word where it documents them: clients compare them. The details of
/// all others are in the reader's language; in English they say more than the page does.
fn refuse(
    submission: &Submission,
    refused: Refused,
    language: &str,
    say: impl Fn(&'static str) -> String,
) -> Response {
    let told = |in_english: String, key| match language {
        "en" => in_english,
        _ => say(key),
    };
    let key = text_of(submission, &refused);
    let bad = |code, detail: &str| json_api::Error::new(StatusCode::BAD_REQUEST, code, detail);
    let wrong = |code, detail: String, parameter: &str| {
        json_api::Error::new(StatusCode::UNPROCESSABLE_ENTITY, code, detail).because_of(parameter)
    };
    let error = match refused {
        Refused::Malformed => bad(
            "REGISTER_TOKEN_MALFORMED",
            "register_token is not made of hex digits",
        ),
        Refused::Wrong => bad(reasons::REGISTER_TOKEN_WRONG, "Invalid register token"),
        Refused::Used => bad(reasons::REGISTER_TOKEN_USED, "Empty register token"),
        Refused::Expired => bad(reasons::REGISTER_TOKEN_EXPIRED, "Expired register token"),
        Refused::Field(..) if submission.passphrase.is_empty() => {
            bad("INVALID_FIELD", "Missing new passphrase")
        }
        Refused::Field(field, _) if field == "iterations" => {
            let too_high = u32::try_from(submission.iterations)
                .is_ok_and(|iterations| iterations > Iterations::MOST);
            let relation = if too_high { "high" } else { "low" };
            let detail = format!("The KdfIterations number is too {relation}");
            wrong("INVALID_FIELD", detail, "KdfIterations")
        }
        Refused::Field(field, detail) => wrong("INVALID_FIELD", told(detail, key), &field),
        Refused::Weak(detail) => wrong(reasons::PASSPHRASE_WEAK, told(detail, key), "passphrase"),
        Refused::Slowed(wait) => Error::TooManyTries { wait }.into(),
        Refused::Failed(status) => status.into(),
    };
    error.into_response()
}
