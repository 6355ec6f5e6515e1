//! `/auth/twofactor`: the second step of a login. Fields and answers are those of the compatible API.

use axum::{body::Body, extract::State, response::Response};
use hamlet_pages::{CodeForm, origin};
use http::StatusCode;
use identity::{second_factor::Purpose, session::Kind};
use serde_json::json;

use super::{
    Asked, document,
    entry::Entry,
    login::{refuse_address, refuse_body},
    reply::{Shown, json_answer, with_cookies},
    settings::cross_site,
    submission::Form,
};
use crate::{api::Shared, domain::instance::InstanceDocument, error::Error};

/// The field in which programs get what makes their device a trusted one.
const TRUST_FIELD: &str = "two_factor_trusted_device_token";

/// Shows the form for the code to whoever brings a token, whatever it is and whatever the instance asks for: nothing tells
/// which instances have a second factor.
pub(super) async fn show(State(shared): State<Shared>, asked: Asked) -> Response {
    if let Err(error) = document(&shared, &asked).await {
        return asked.failed(&shared, error);
    }
    let parameter = |name| asked.parameter(name).unwrap_or_default();
    let token = parameter("two_factor_token");
    if token.is_empty() {
        return super::reply::see_other(&asked.url(&shared, "/auth/login"));
    }
    let redirect = parameter("redirect");
    if let Err(bad) = asked.target(&shared, &redirect) {
        return refuse_address(&shared, &asked, bad);
    }
    let form = CodeForm {
        token: &token,
        redirect: &redirect,
        is_long: parameter("long_run_session") == "true",
        error: None,
    };
    page(&shared, &asked, form, StatusCode::OK)
}

fn page(shared: &Shared, asked: &Asked, form: CodeForm<'_>, status: StatusCode) -> Response {
    let more = form.html(&shared.texts, &asked.language(shared));
    asked.page(shared, &Shown::form("twofactor", status, more))
}

/// Logs in with the code.
pub(super) async fn submit(State(shared): State<Shared>, asked: Asked, body: Body) -> Response {
    if !origin::is_own(&asked.headers, &asked.host) {
        return cross_site(&shared, &asked);
    }
    let form = match Form::read(&asked.headers, body).await {
        Ok(form) => form,
        Err(unreadable) => return refuse_body(unreadable),
    };
    let document = match document(&shared, &asked).await {
        Ok(found) => found.body,
        Err(error) => return asked.failed(&shared, error),
    };
    match log_in(&shared, &asked, &document, &form).await {
        Ok(response) => response,
        Err(error) => refuse(&shared, &asked, &form, error),
    }
}

async fn log_in(
    shared: &Shared,
    asked: &Asked,
    document: &InstanceDocument,
    form: &Form,
) -> Result<Response, Error> {
    if !Asked::gets_codes(document) {
        return Err(Error::DeadCode);
    }
    let target = match asked.target(shared, form.get("redirect")) {
        Ok(target) => target,
        Err(bad) => return Ok(refuse_address(shared, asked, bad)),
    };
    let factor = shared.second_factor();
    let token = form.get("two-factor-token");
    let code = form.get("two-factor-passcode");
    let cleared = factor.answer(document, Purpose::LogIn, token, code)?;
    let mut more = Vec::new();
    let mut cookies = Vec::new();
    if form.is_ticked("two-factor-generate-trusted-device-token") {
        let user_agent = asked.visitor().user_agent;
        let trust = factor.trust(document, &user_agent, &cleared)?;
        if asked.wants_json() {
            more.push((TRUST_FIELD, trust));
        } else {
            cookies.push(asked.set_cookie(shared, document).trusted(&trust)?);
        }
    }
    let entry = Entry {
        shared,
        asked,
        document,
        kind: if form.is_ticked("long-run-session") {
            Kind::Long
        } else {
            Kind::Normal
        },
        target: target.as_deref(),
        as_json: asked.wants_json(),
    };
    let response = entry.let_in(cleared, more, true).await?;
    Ok(with_cookies(response, cookies))
}

/// Tells why the code opens nothing.
fn refuse(shared: &Shared, asked: &Asked, form: &Form, error: Error) -> Response {
    let status = StatusCode::UNAUTHORIZED;
    let language = asked.language(shared);
    let is_dead = match error {
        Error::WrongCode => false,
        Error::DeadCode => true,
        error => return asked.failed(shared, error),
    };
    if asked.wants_json() {
        let key = if is_dead { "dead_code" } else { "error_code" };
        let told = shared.texts.say(key, &language);
        return json_answer(status, &json!({"error": told}));
    }
    if is_dead {
        return dead(shared, asked);
    }
    let told = shared.texts.say("error_code", &language);
    let form = CodeForm {
        token: form.get("two-factor-token"),
        redirect: form.get("redirect"),
        is_long: form.is_ticked("long-run-session"),
        error: Some(&told),
    };
    page(shared, asked, form, status)
}

/// No code can be right any more: the login begins anew.
fn dead(shared: &Shared, asked: &Asked) -> Response {
    let login = shared.texts.say("login_submit", &asked.language(shared));
    let more = format!(
        "<p><a href=\"/auth/login\">{}</a></p>\n",
        hamlet_pages::escape(&login)
    );
    let shown = Shown {
        more,
        ..Shown::error("dead_code", StatusCode::UNAUTHORIZED, "CODE_DEAD")
    };
    asked.page(shared, &shown)
}
