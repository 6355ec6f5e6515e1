//! The programs that an owner has let in, on the page of settings.

use axum::{body::Body, extract::State, response::Response};
use hamlet_pages::ClientRow;
use identity::client::Client;

use super::{
    Asked, document,
    reply::see_other,
    settings::{own_form, shown},
};
use crate::{actions::oauth::ClientDocument, api::Shared};

/// A program on the page.
pub(super) fn row(document: &ClientDocument) -> ClientRow {
    let client = Client::of(&document.body);
    let day = |time| Option::map_or(time, String::new(), shown);
    ClientRow {
        id: document.id.clone(),
        name: client.name().to_owned(),
        times: (day(client.registered_at()), day(client.used_at())),
    }
}

/// `POST /auth/clients/end`: takes the access of a program away.
pub(super) async fn end(State(shared): State<Shared>, asked: Asked, body: Body) -> Response {
    let (_, form) = match own_form(&shared, &asked, body).await {
        Ok(sent) => sent,
        Err(response) => return response,
    };
    let removed = async {
        let document = document(&shared, &asked).await?.body;
        let oauth = shared.oauth(&asked.tenant.id, &document);
        oauth.remove(form.get("id")).await
    };
    match removed.await {
        Ok(_was_there) => see_other(&asked.url(&shared, "/settings#programs")),
        Err(error) => asked.failed(&shared, error),
    }
}
