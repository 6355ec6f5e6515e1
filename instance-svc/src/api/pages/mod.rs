//! The pages of an instance, and the routes to which their forms are sent: logging in and out, also with what comes by
//! mail, the first passphrase, the owner's settings. Paths, fields and answers are those of the compatible API, where it has them.
//!
//! Passphrases are only ever in bodies. The register token is in the query of its link, which is never logged.

mod asked;
mod authorize;
mod clients;
mod consent;
mod cookies;
mod entry;
mod factor;
mod forgotten;
mod login;
mod logout;
mod magic;
mod onboarding;
mod reply;
mod resend;
mod settings;
mod start;
mod submission;
mod twofactor;

use axum::{
    Router,
    body::Body,
    extract::{Path, State},
    middleware::from_fn,
    response::{IntoResponse as _, Response},
    routing::{any, delete, get, post},
};
use couch::Document;
use hamlet_pages::SCRIPTS;
use http::{
    HeaderValue, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS},
};
use service_kit::json_api;

use self::reply::Shown;
pub(super) use self::{
    asked::Asked,
    cookies::all as cookies_named,
    factor::choose as choose_auth_mode,
    onboarding::submit as submit_first_passphrase,
    reply::{json_answer, with_cookies},
    submission::{Form, collect, from_json},
};
use super::{Shared, strangers};
use crate::{domain::instance::InstanceDocument, error::Error};

/// These routes. The document at the admin door does not describe them: they are of another door.
pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/", get(start::show))
        .route(
            "/auth/login",
            get(login::show).post(login::submit).delete(logout::by_app),
        )
        .route("/auth/login/others", delete(logout::others_by_app))
        .route("/auth/logout", post(logout::by_owner))
        .route(
            "/auth/passphrase",
            get(onboarding::show).post(settings::change_passphrase),
        )
        .route("/auth/passphrase/code", post(factor::send_code))
        .route(
            "/auth/passphrase_reset",
            get(forgotten::show).post(forgotten::submit),
        )
        .route("/auth/hint", post(forgotten::hint))
        .route("/auth/onboarding/resend", post(resend::submit))
        .route(
            "/auth/twofactor",
            get(twofactor::show).post(twofactor::submit),
        )
        .route("/auth/second_factor", post(factor::submit))
        .route("/auth/magic_link", get(magic::open).post(magic::send))
        .route("/auth/magic_link/twofactor", post(magic::submit))
        .route(
            "/auth/passphrase_renew",
            get(onboarding::renew).post(onboarding::submit_new),
        )
        .route(
            "/auth/authorize",
            get(authorize::show).post(authorize::submit),
        )
        .route("/auth/clients/end", post(clients::end))
        .route("/auth/sessions/end", post(settings::end_session))
        .route("/auth/sessions/others", post(settings::end_others_of))
        .route("/auth/{*rest}", any(unbuilt))
        .route("/settings", get(settings::show))
        .route(
            "/settings/apps/{slug}",
            get(consent::show_app).post(consent::agree_app),
        )
        .route(
            "/settings/konnectors/{slug}",
            get(consent::show_konnector).post(consent::agree_konnector),
        )
        .route("/.well-known/change-password", get(settings::find))
        .route("/assets/{*name}", get(script))
        .layer(from_fn(strangers::refuse))
        .method_not_allowed_fallback(json_api::no_such_method)
}

/// The document of the instance of a request.
async fn document(shared: &Shared, asked: &Asked) -> Result<Document<InstanceDocument>, Error> {
    let found = shared.store.instance(&asked.tenant.id).await?;
    found.ok_or_else(|| Error::NoSuchInstance(asked.tenant.domain.clone()))
}

/// Whether the owner has yet to choose a passphrase.
fn is_onboarding(document: &InstanceDocument) -> bool {
    !document.onboarding_finished
}

/// What is left to later versions: consent to sharings and moves.
async fn unbuilt(State(shared): State<Shared>, asked: Asked) -> Response {
    let shown = Shown::error("unbuilt", StatusCode::NOT_IMPLEMENTED, "NOT_BUILT_YET");
    asked.page(&shared, &shown)
}

/// The scripts of the forms.
async fn script(Path(name): Path<String>) -> Response {
    let path = format!("/assets/{name}");
    let Some((_, script)) = SCRIPTS.iter().find(|(at, _)| *at == path) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let mut response = Response::new(Body::from(*script));
    let headers = response.headers_mut();
    for (name, value) in [
        (CONTENT_TYPE, "text/javascript; charset=utf-8"),
        (CACHE_CONTROL, "max-age=300"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
