//! `POST /auth/onboarding/resend`: mails the register link to the owner of an instance that waits for one.

use axum::{extract::State, response::Response};
use hamlet_pages::{AskForMail, Content, origin};
use http::StatusCode;
use service_kit::json_api;

use super::{
    Asked, document,
    forgotten::{post, sent},
    is_onboarding,
    onboarding::waiting,
    settings::cross_site,
};
use crate::{
    api::{Shared, passphrase},
    domain::claim::NameKind,
    error::Error,
    mail::MailKind,
};

/// The form that asks for it; empty where no mail is sent.
pub(super) fn form(shared: &Shared, asked: &Asked) -> String {
    if !shared.mailer.sends_for(&asked.tenant.context) {
        return String::new();
    }
    let form = AskForMail {
        path: "/auth/onboarding/resend",
        button: "send_link",
        csrf: "",
        redirect: "",
        is_plain: true,
    };
    form.html(&shared.texts, &asked.language(shared))
}

/// Mails it. Nothing tells whether there is an address.
pub(super) async fn submit(State(shared): State<Shared>, asked: Asked) -> Response {
    if !origin::is_own(&asked.headers, &asked.host) {
        return cross_site(&shared, &asked);
    }
    let document = match document(&shared, &asked).await {
        Ok(found) => found.body,
        Err(error) => return asked.failed(&shared, error),
    };
    if !shared.mailer.sends_for(&document.context) {
        if asked.wants_page() {
            return waiting(&shared, &asked);
        }
        use axum::response::IntoResponse as _;
        let told = "no mail can be sent here; whoever runs this installation has the link";
        return json_api::Error::new(StatusCode::NOT_IMPLEMENTED, "NO_MAIL", told).into_response();
    }
    let (writing, instance) = (shared.clone(), asked.tenant.id.clone());
    post(&shared, &asked, &document, MailKind::Register, async move {
        let found = writing.store.found(&instance, NameKind::Domain).await?;
        let Some(found) = found.filter(|it| is_onboarding(&it.document.body)) else {
            return Ok(None);
        };
        let link = match passphrase::register_link(&writing, &found) {
            Ok(link) => link.link,
            Err(Error::RegisterLinkExpired(_)) => {
                passphrase::renew_register_link(&writing, &found).await?
            }
            Err(error) => return Err(error),
        };
        let content = Content::Link(&link);
        let writer = writing.writer();
        writer
            .write(&found.document.body, MailKind::Register, content, &[])
            .await
    });
    sent(&shared, &asked)
}
