//! `/auth/passphrase_reset` and `/auth/hint`: mails to an owner who has forgotten the passphrase. The answers say nothing
//! about the instance, and come before anything is looked up.

use axum::{body::Body, extract::State, response::Response};
use hamlet_pages::{AskForMail, Content, origin};
use http::StatusCode;
use serde_json::json;

use super::{
    Asked, document, is_onboarding,
    login::{check_csrf, refuse_body, stale, with_csrf},
    onboarding,
    reply::{Shown, with_cookies},
    settings::cross_site,
    submission::Form,
};
use crate::{
    actions::{
        authenticate::cookie_name, end_sessions::end_one, mail_reset_link::MailResetLink,
        request::Requests,
    },
    api::Shared,
    domain::instance::InstanceDocument,
    error::Error,
    mail::{Letter, MailKind},
};

/// Shows the form; without a mail server, who can help.
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
    if !shared.mailer.sends_for(&document.context) {
        return Ok(nobody_sends(shared, asked));
    }
    let csrf = asked.csrf()?;
    let language = asked.language(shared);
    let form = |path, button, is_plain| {
        let form = AskForMail {
            path,
            button,
            csrf: &csrf,
            redirect: "",
            is_plain,
        };
        form.html(&shared.texts, &language)
    };
    let more = [
        form("/auth/passphrase_reset", "send_link", false),
        form("/auth/hint", "send_hint", true),
    ]
    .concat();
    let response = asked.page(shared, &Shown::form("forgotten_ask", StatusCode::OK, more));
    with_csrf(shared, asked, &document, response, &csrf)
}

/// Who can help where no mail is sent.
fn nobody_sends(shared: &Shared, asked: &Asked) -> Response {
    asked.page(shared, &Shown::error("forgotten", StatusCode::OK, ""))
}

/// The answer to whoever asked for a mail, whether there is one or not.
pub(super) fn sent(shared: &Shared, asked: &Asked) -> Response {
    let shown = Shown {
        document: Some(json!({"data": {
            "type": "hamlet.mails",
            "id": asked.tenant.domain,
            "attributes": {"domain": asked.tenant.domain},
        }})),
        ..Shown::error("mail_sent", StatusCode::OK, "")
    };
    asked.page(shared, &shown)
}

/// Mails a link to choose a new passphrase. Whoever is logged in here is logged out, as in the compatible API.
pub(super) async fn submit(State(shared): State<Shared>, asked: Asked, body: Body) -> Response {
    let form = match Form::read(&asked.headers, body).await {
        Ok(form) => form,
        Err(unreadable) => return refuse_body(unreadable),
    };
    if let Err(refused) = check_csrf(&asked, &form) {
        return stale(&shared, &asked, refused);
    }
    match send_link(&shared, &asked).await {
        Ok(response) => response,
        Err(error) => asked.failed(&shared, error),
    }
}

async fn send_link(shared: &Shared, asked: &Asked) -> Result<Response, Error> {
    let document = document(shared, asked).await?.body;
    if !shared.mailer.sends_for(&document.context) {
        return Ok(nobody_sends(shared, asked));
    }
    let (writing, instance) = (shared.clone(), asked.tenant.id.clone());
    post(shared, asked, &document, MailKind::Reset, async move {
        let key = writing.key.current();
        let requests = Requests {
            engine: &writing.engine,
            key: &key,
        };
        let mail = MailResetLink {
            store: &writing.store,
            clock: &writing.clock,
            config: &writing.config,
            requests,
            sealing: &writing.sealing,
            writer: writing.writer(),
        };
        mail.write(&instance).await
    });
    let response = sent(shared, asked);
    let Some(session) = asked.session() else {
        return Ok(response);
    };
    let _was_there = end_one(&shared.store, &document, session).await?;
    let name = cookie_name(&shared.contexts, &document);
    let cookie = asked.set_cookie(shared, &document).without_session(&name)?;
    Ok(with_cookies(response, [cookie]))
}

/// Sends a mail that a stranger asked for. Too many are left out in silence: the answer says nothing.
pub(super) fn post<W>(
    shared: &Shared,
    asked: &Asked,
    document: &InstanceDocument,
    kind: MailKind,
    write: W,
) where
    W: Future<Output = Result<Option<Letter>, Error>> + Send + 'static,
{
    let occasion = asked.occasion(document, kind);
    let sent = shared.mailer.take(occasion).and_then(|()| {
        let mailer = &shared.mailer;
        mailer.send(occasion, &document.context, &document.domain, write)
    });
    if let Err(error) = sent {
        tracing::debug!(
            error = &error as &dyn std::error::Error,
            kind = kind.name(),
            "a mail is left out"
        );
    }
}

/// `POST /auth/hint`: mails the hint for the passphrase.
pub(super) async fn hint(State(shared): State<Shared>, asked: Asked) -> Response {
    if !origin::is_own(&asked.headers, &asked.host) {
        return cross_site(&shared, &asked);
    }
    let document = match document(&shared, &asked).await {
        Ok(found) => found.body,
        Err(error) => return asked.failed(&shared, error),
    };
    if !shared.mailer.sends_for(&document.context) {
        return nobody_sends(&shared, &asked);
    }
    let (writing, instance) = (shared.clone(), document.clone());
    post(&shared, &asked, &document, MailKind::Hint, async move {
        let stored = writing.log_in().stored(&instance).await?;
        if stored.hint.is_empty() {
            return Ok(None);
        }
        let content = Content::Code(&stored.hint);
        let writer = writing.writer();
        writer.write(&instance, MailKind::Hint, content, &[]).await
    });
    sent(&shared, &asked)
}
