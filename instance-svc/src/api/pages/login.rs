//! `/auth/login`: the page on which an owner logs in, and its form.

use axum::{body::Body, extract::State, response::Response};
use hamlet_pages::{LoginForm, origin};
use http::{StatusCode, header::RETRY_AFTER};
use identity::{secrets::are_same, session::Kind};
use serde_json::json;
use service_kit::{secret::Secret, status::ServiceError as _};
use tonic::Code;

use super::{
    Asked, document,
    entry::Entry,
    is_onboarding, magic, onboarding,
    reply::{Shown, json_answer, see_other, with_cookies},
    submission::{Form, Unreadable},
};
use crate::{
    api::Shared,
    domain::{instance::InstanceDocument, own_hosts::BadAddress, passphrase::client},
    error::Error,
};

/// Shows the page. Whoever is logged in goes on.
pub(super) async fn show(State(shared): State<Shared>, asked: Asked) -> Response {
    match page(&shared, &asked).await {
        Ok(response) => response,
        Err(error) => asked.failed(&shared, error),
    }
}

async fn page(shared: &Shared, asked: &Asked) -> Result<Response, Error> {
    let document = document(shared, asked).await?.body;
    if is_onboarding(&document) {
        return Ok(onboarding::waiting(shared, asked));
    }
    let csrf = asked.csrf()?;
    let redirect = asked.parameter("redirect").unwrap_or_default();
    let response = match asked.target(shared, &redirect) {
        Err(bad) => refuse_address(shared, asked, bad),
        Ok(target) if asked.session().is_some() => see_other(&match target {
            Some(target) => target,
            None => asked.landing(shared, &document).await?,
        }),
        Ok(target) if document.magic_link => {
            let target = target.unwrap_or_default();
            magic::login_page(shared, asked, &document, &csrf, &target)
        }
        Ok(target) => {
            let status = StatusCode::OK;
            let target = target.unwrap_or_default();
            form(shared, asked, &document, &csrf, &target, status, None).await?
        }
    };
    with_csrf(shared, asked, &document, response, &csrf)
}

/// The form, with what was wrong.
async fn form(
    shared: &Shared,
    asked: &Asked,
    document: &InstanceDocument,
    csrf: &str,
    redirect: &str,
    status: StatusCode,
    error: Option<&str>,
) -> Result<Response, Error> {
    let stored = shared.log_in().stored(document).await?;
    let form = LoginForm {
        domain: &asked.tenant.domain,
        csrf,
        redirect,
        salt: &client::salt(&document.domain, &document.old_domain),
        iterations: stored.iterations.map_or(0, client::Iterations::get),
        error,
    };
    let more = form.html(&shared.texts, &asked.language(shared));
    Ok(asked.page(shared, &Shown::form("login", status, more)))
}

/// Every answer of a form renews the cookie that the form has to repeat.
pub(super) fn with_csrf(
    shared: &Shared,
    asked: &Asked,
    document: &InstanceDocument,
    response: Response,
    csrf: &str,
) -> Result<Response, Error> {
    let cookie = asked.set_cookie(shared, document).csrf(csrf)?;
    Ok(with_cookies(response, [cookie]))
}

/// Refuses to lead elsewhere.
pub(super) fn refuse_address(shared: &Shared, asked: &Asked, bad: BadAddress) -> Response {
    let status = StatusCode::BAD_REQUEST;
    if asked.wants_json() {
        return json_answer(status, &json!({"error": bad.to_string()}));
    }
    asked.page(
        shared,
        &Shown::error("bad_redirect", status, "BAD_REDIRECT"),
    )
}

/// Logs in.
pub(super) async fn submit(State(shared): State<Shared>, asked: Asked, body: Body) -> Response {
    let form = match Form::read(&asked.headers, body).await {
        Ok(form) => form,
        Err(unreadable) => return refuse_body(unreadable),
    };
    if let Err(refused) = check_csrf(&asked, &form) {
        return stale(&shared, &asked, refused);
    }
    match log_in(&shared, &asked, &form).await {
        Ok(response) => response,
        Err(error) => asked.failed(&shared, error),
    }
}

pub(super) fn refuse_body(unreadable: Unreadable) -> Response {
    json_answer(
        unreadable.status(),
        &json!({"error": unreadable.to_string()}),
    )
}

/// Why a form does not come from a page that the browser has kept: the status, and the text that compatible clients know.
pub(super) type Stale = (StatusCode, &'static str);

/// Tells that a form is too old.
pub(super) fn stale(shared: &Shared, asked: &Asked, (status, told): Stale) -> Response {
    if asked.wants_json() {
        return json_answer(status, &json!({"error": told}));
    }
    asked.page(shared, &Shown::error("stale_form", status, "CSRF"))
}

/// Requires that a form comes from a page of the instance, and repeats the cookie that the page has set. The cookie alone proves
/// nothing: a page of an app, or of a neighbour, can set one for the host of the instance, too.
pub(super) fn check_csrf(asked: &Asked, form: &Form) -> Result<(), Stale> {
    let sent = form.get("csrf_token");
    if sent.is_empty() {
        let told = "missing csrf token in the form parameter";
        return Err((StatusCode::BAD_REQUEST, told));
    }
    match asked.sent_csrf() {
        Some(kept) if are_same(kept, sent) && origin::is_own(&asked.headers, &asked.host) => Ok(()),
        _ => Err((StatusCode::FORBIDDEN, "invalid csrf token")),
    }
}

async fn log_in(shared: &Shared, asked: &Asked, form: &Form) -> Result<Response, Error> {
    let document = document(shared, asked).await?.body;
    if is_onboarding(&document) {
        return Ok(onboarding::waiting(shared, asked));
    }
    let csrf = asked.csrf()?;
    let target = match asked.target(shared, form.get("redirect")) {
        Ok(target) => target,
        Err(bad) => return Ok(refuse_address(shared, asked, bad)),
    };
    let passphrase = Secret::new(form.get("passphrase"));
    let guesser = asked.guesser(&document);
    let checked = shared
        .log_in()
        .require(&document, &passphrase, guesser)
        .await;
    if let Err(error) = checked {
        let told = refuse(shared, asked, &document, &csrf, target, error).await?;
        return with_csrf(shared, asked, &document, told, &csrf);
    }
    let entry = Entry {
        shared,
        asked,
        document: &document,
        kind: if form.is_ticked("long-run-session") {
            Kind::Long
        } else {
            Kind::Normal
        },
        target: target.as_deref(),
        as_json: asked.wants_json(),
    };
    let entered = entry.after_passphrase(form.get("trusted-device-token"));
    let response = match entered.await {
        Err(error @ Error::TooManyTries { .. }) => {
            refuse(shared, asked, &document, &csrf, target, error).await?
        }
        entered => entered?,
    };
    with_csrf(shared, asked, &document, response, &csrf)
}

/// Tells why the passphrase does not open the instance: in the form, or to a program.
async fn refuse(
    shared: &Shared,
    asked: &Asked,
    document: &InstanceDocument,
    csrf: &str,
    target: Option<String>,
    error: Error,
) -> Result<Response, Error> {
    let (status, told, wait) = told_of(shared, asked, error)?;
    let mut response = if asked.wants_json() {
        json_answer(status, &json!({"error": told}))
    } else {
        let target = match target {
            Some(target) => target,
            None => asked.landing(shared, document).await?,
        };
        form(shared, asked, document, csrf, &target, status, Some(&told)).await?
    };
    if let Some(wait) = wait {
        response.headers_mut().insert(RETRY_AFTER, wait.into());
    }
    Ok(response)
}

/// What to tell whoever has sent a passphrase that is not accepted: the status, the text, and how many seconds to wait.
///
/// # Errors
/// The error itself, when it has another cause.
pub(super) fn told_of(
    shared: &Shared,
    asked: &Asked,
    error: Error,
) -> Result<(StatusCode, String, Option<u64>), Error> {
    let language = asked.language(shared);
    let say = |key| shared.texts.say(key, &language);
    match &error {
        Error::WrongPassphrase => Ok((StatusCode::UNAUTHORIZED, say("error_wrong"), None)),
        Error::TooManyTries { wait } => {
            let seconds = wait.as_secs() + 1;
            let told = say("error_wait").replace("{time}", &seconds.to_string());
            Ok((StatusCode::TOO_MANY_REQUESTS, told, Some(seconds)))
        }
        _ if error.status().code() == Code::ResourceExhausted => {
            Ok((StatusCode::TOO_MANY_REQUESTS, say("error_busy"), Some(2)))
        }
        _ => Err(error),
    }
}
