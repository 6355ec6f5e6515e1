//! Logging out: by an app, and by the owner on the page of settings.

use axum::{
    extract::State,
    response::{IntoResponse as _, Response},
};
use hamlet_pages::origin;
use http::StatusCode;
use serde_json::json;

use super::{
    Asked, document,
    reply::{json_answer, see_other, with_cookies},
    settings::cross_site,
};
use crate::{
    actions::{
        authenticate::{ProvenWith, cookie_name},
        end_sessions::{end_one, end_others},
    },
    api::Shared,
    error::Error,
};

/// The session of the app that asks; `None` when it is no app of a browser that is logged in.
fn session_of_app(asked: &Asked) -> Option<&str> {
    let who = asked.who.as_ref()?;
    let is_app = who.proven_with == ProvenWith::App && !who.session.is_empty();
    is_app.then_some(&who.session)
}

/// The text is that of the compatible API.
fn not_an_app() -> Response {
    let told = "The user can logout only from client-side apps";
    json_answer(StatusCode::UNAUTHORIZED, &json!({"error": told}))
}

/// `DELETE /auth/login`: ends the session of the browser in which the app runs.
pub(super) async fn by_app(State(shared): State<Shared>, asked: Asked) -> Response {
    let Some(session) = session_of_app(&asked) else {
        return not_an_app();
    };
    match end(
        &shared,
        &asked,
        session,
        StatusCode::NO_CONTENT.into_response(),
    )
    .await
    {
        Ok(response) => response,
        Err(error) => asked.failed(&shared, error),
    }
}

/// `DELETE /auth/login/others`: ends all other sessions.
pub(super) async fn others_by_app(State(shared): State<Shared>, asked: Asked) -> Response {
    let Some(session) = session_of_app(&asked) else {
        return not_an_app();
    };
    let ended = async {
        let document = document(&shared, &asked).await?.body;
        end_others(&shared.store, &document, session).await
    };
    match ended.await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => asked.failed(&shared, error),
    }
}

/// `POST /auth/logout`: ends the session of the browser.
pub(super) async fn by_owner(State(shared): State<Shared>, asked: Asked) -> Response {
    if !origin::is_own(&asked.headers, &asked.host) {
        return cross_site(&shared, &asked);
    }
    let login = asked.url(&shared, "/auth/login");
    let Some(session) = asked.session() else {
        return see_other(&login);
    };
    match end(&shared, &asked, session, see_other(&login)).await {
        Ok(response) => response,
        Err(error) => asked.failed(&shared, error),
    }
}

async fn end(
    shared: &Shared,
    asked: &Asked,
    session: &str,
    response: Response,
) -> Result<Response, Error> {
    let document = document(shared, asked).await?.body;
    let _was_there = end_one(&shared.store, &document, session).await?;
    let name = cookie_name(&shared.contexts, &document);
    let cookie = asked.set_cookie(shared, &document).without_session(&name)?;
    Ok(with_cookies(response, [cookie]))
}
