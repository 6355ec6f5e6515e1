//! `GET /`: the front page leads on.

use axum::{extract::State, response::Response};

use super::{Asked, document, is_onboarding, onboarding, reply::see_other};
use crate::{api::Shared, error::Error};

/// Leads an owner to the default app, everybody else to the login, and a new owner to the choice of a passphrase.
pub(super) async fn show(State(shared): State<Shared>, asked: Asked) -> Response {
    match lead(&shared, &asked).await {
        Ok(response) => response,
        Err(error) => asked.failed(&shared, error),
    }
}

async fn lead(shared: &Shared, asked: &Asked) -> Result<Response, Error> {
    let document = document(shared, asked).await?.body;
    if is_onboarding(&document) {
        return Ok(onboarding::begin(shared, asked, &document).await);
    }
    let location = if asked.session().is_some() {
        asked.landing(shared, &document).await?
    } else {
        asked.url(shared, "/auth/login")
    };
    Ok(see_other(&location))
}
