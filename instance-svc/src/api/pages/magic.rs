//! `/auth/magic_link`: logging in with a link that comes by mail. Opening the link shows a page, and only its form logs in:
//! what reads mails before their reader does must not use the link up.

use axum::{body::Body, extract::State, response::Response};
use hamlet_pages::{AskForMail, OpenForm};
use http::StatusCode;
use identity::session::Kind;
use serde_json::json;
use service_kit::secret::Secret;
use url::form_urlencoded;

use super::{
    Asked, document,
    entry::Entry,
    forgotten::{post, sent},
    login::{check_csrf, refuse_address, refuse_body, stale, told_of, with_csrf},
    reply::{Shown, json_answer},
    submission::Form,
};
use crate::{
    actions::second_factor::MagicLink, api::Shared, domain::instance::InstanceDocument,
    error::Error, mail::MailKind,
};

fn magic_link(shared: &Shared) -> MagicLink<'_> {
    MagicLink {
        clock: &shared.clock,
        writer: shared.writer(),
    }
}

/// The login page of an owner who gets links.
pub(super) fn login_page(
    shared: &Shared,
    asked: &Asked,
    document: &InstanceDocument,
    csrf: &str,
    redirect: &str,
) -> Response {
    if !shared.mailer.sends_for(&document.context) {
        return nobody_sends(shared, asked);
    }
    let form = AskForMail {
        path: "/auth/magic_link",
        button: "send_link",
        csrf,
        redirect,
        is_plain: false,
    };
    let more = form.html(&shared.texts, &asked.language(shared));
    asked.page(shared, &Shown::form("magic", StatusCode::OK, more))
}

fn nobody_sends(shared: &Shared, asked: &Asked) -> Response {
    let status = StatusCode::SERVICE_UNAVAILABLE;
    asked.page(shared, &Shown::error("no_magic_mail", status, "NO_MAIL"))
}

/// A link that opens nothing.
fn dead(shared: &Shared, asked: &Asked) -> Response {
    let status = StatusCode::BAD_REQUEST;
    if asked.wants_json() {
        return json_answer(status, &json!({"error": Error::DeadLink.to_string()}));
    }
    asked.page(shared, &Shown::error("dead_magic", status, "LINK_DEAD"))
}

/// `POST /auth/magic_link`: mails a link.
pub(super) async fn send(State(shared): State<Shared>, asked: Asked, body: Body) -> Response {
    let form = match Form::read(&asked.headers, body).await {
        Ok(form) => form,
        Err(unreadable) => return refuse_body(unreadable),
    };
    if let Err(refused) = check_csrf(&asked, &form) {
        return stale(&shared, &asked, refused);
    }
    let document = match document(&shared, &asked).await {
        Ok(found) => found.body,
        Err(error) => return asked.failed(&shared, error),
    };
    if !document.magic_link {
        return dead(&shared, &asked);
    }
    if !shared.mailer.sends_for(&document.context) {
        return nobody_sends(&shared, &asked);
    }
    let target = match asked.target(&shared, form.get("redirect")) {
        Ok(target) => target.unwrap_or_default(),
        Err(bad) => return refuse_address(&shared, &asked, bad),
    };
    let (writing, instance) = (shared.clone(), document.clone());
    post(
        &shared,
        &asked,
        &document,
        MailKind::MagicLink,
        async move {
            let at = writing.config.url_of(&instance.domain);
            let before = format!("{at}auth/magic_link?code=");
            let mut after = String::new();
            if !target.is_empty() {
                after.push_str("&redirect=");
                after.extend(form_urlencoded::byte_serialize(target.as_bytes()));
            }
            let link = magic_link(&writing);
            link.write(&instance, &before, &after).await
        },
    );
    sent(&shared, &asked)
}

/// `GET /auth/magic_link`: the page of a link that was opened.
pub(super) async fn open(State(shared): State<Shared>, asked: Asked) -> Response {
    match opened(&shared, &asked).await {
        Ok(response) => response,
        Err(Error::DeadLink) => dead(&shared, &asked),
        Err(error) => asked.failed(&shared, error),
    }
}

async fn opened(shared: &Shared, asked: &Asked) -> Result<Response, Error> {
    let document = document(shared, asked).await?.body;
    let code = asked.parameter("code").unwrap_or_default();
    let _valid = magic_link(shared).open(&document, &code)?;
    let redirect = asked.parameter("redirect").unwrap_or_default();
    if let Err(bad) = asked.target(shared, &redirect) {
        return Ok(refuse_address(shared, asked, bad));
    }
    page(
        shared,
        asked,
        &document,
        &code,
        &redirect,
        None,
        StatusCode::OK,
    )
}

fn page(
    shared: &Shared,
    asked: &Asked,
    document: &InstanceDocument,
    code: &str,
    redirect: &str,
    error: Option<&str>,
    status: StatusCode,
) -> Result<Response, Error> {
    let csrf = asked.csrf()?;
    let form = OpenForm {
        domain: &asked.tenant.domain,
        code,
        csrf: &csrf,
        redirect,
        needs_passphrase: document.auth_mode.needs_code(),
        error,
    };
    let more = form.html(&shared.texts, &asked.language(shared));
    let response = asked.page(shared, &Shown::form("magic_open", status, more));
    with_csrf(shared, asked, document, response, &csrf)
}

/// `POST /auth/magic_link/twofactor`: logs in with the code of a link, and with the passphrase where both are asked for.
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
        // It was used before.
        Err(Error::DeadLink | Error::DeadCode) => dead(&shared, &asked),
        Err(error) => asked.failed(&shared, error),
    }
}

async fn log_in(shared: &Shared, asked: &Asked, form: &Form) -> Result<Response, Error> {
    let document = document(shared, asked).await?.body;
    let code = form.get("code");
    let opened = magic_link(shared).open(&document, code)?;
    let redirect = form.get("redirect");
    let target = match asked.target(shared, redirect) {
        Ok(target) => target,
        Err(bad) => return Ok(refuse_address(shared, asked, bad)),
    };
    let mut has_passphrase = false;
    if document.auth_mode.needs_code() {
        let passphrase = Secret::new(form.get("passphrase"));
        let guesser = asked.guesser(&document);
        let log_in = shared.log_in();
        match log_in.require(&document, &passphrase, guesser).await {
            Ok(()) => has_passphrase = true,
            Err(error) => {
                let (status, told, _) = told_of(shared, asked, error)?;
                if asked.wants_json() {
                    return Ok(json_answer(status, &json!({"error": told})));
                }
                return page(
                    shared,
                    asked,
                    &document,
                    code,
                    redirect,
                    Some(&told),
                    status,
                );
            }
        }
    }
    let cleared = opened
        .cleared(&document, has_passphrase)
        .ok_or_else(|| Error::SecondFactor(document.domain.clone()))?;
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
    entry.let_in(cleared, Vec::new(), true).await
}
