//! Routes of the public door: what programs and apps send to an instance itself, with a token of it.

mod access_token;
mod apps;
mod auth_mode;
mod bearer;
mod clients;
mod flags;
mod hint;
mod passphrase;
mod permissions;
mod prelogin;
mod registrations;
mod sessions;
mod settings;
mod warnings;

use axum::{
    Router,
    middleware::from_fn,
    routing::{any, delete, get, post, put},
};
use service_kit::{json_api, unbuilt};

use self::{apps::Kind, bearer::Bearer};
use crate::api::{Shared, pages::submit_first_passphrase, strangers};

/// These routes. The document at the admin door does not describe them: they are of another door.
pub(super) fn routes() -> Router<Shared> {
    let of_passphrase = get(passphrase::show)
        .post(submit_first_passphrase)
        .put(passphrase::set);
    let of_registration = get(registrations::show)
        .put(registrations::change)
        .delete(registrations::remove);
    Router::new()
        .merge(of_kind(Kind::WEBAPP))
        .merge(of_kind(Kind::KONNECTOR))
        .route(
            "/settings/instance",
            get(settings::instance).put(settings::change_instance),
        )
        .route("/settings/instance/auth_mode", put(auth_mode::choose))
        .route("/settings/disk-usage", get(settings::disk_usage))
        .route("/settings/capabilities", get(settings::capabilities))
        .route("/settings/flags", get(flags::show))
        .route("/settings/warnings", get(warnings::show))
        .route("/settings/passphrase", of_passphrase)
        .route("/settings/hint", get(hint::check).put(hint::set))
        .route("/settings/sessions", get(sessions::list))
        .route("/settings/sessions/{id}", delete(sessions::end))
        .route("/settings/clients", get(clients::list))
        .route("/settings/clients/{id}", delete(clients::remove))
        .route("/auth/register", post(registrations::register))
        .route("/auth/register/{id}", of_registration)
        .route("/auth/access_token", post(access_token::give))
        .route("/settings/{*rest}", any(not_built_for_tokens))
        .route("/permissions/self", get(permissions::own))
        .route("/permissions", any(not_built_for_tokens))
        .route("/permissions/{*rest}", any(not_built_for_tokens))
        .route("/public/prelogin", get(prelogin::show))
        .route("/public/{*rest}", any(not_built))
        .merge(later())
        .layer(from_fn(strangers::refuse))
        .method_not_allowed_fallback(json_api::no_such_method)
}

/// What programs of the compatible API call, and is not built yet.
fn later() -> Router<Shared> {
    unbuilt::PATHS.iter().fold(Router::new(), |router, path| {
        router
            .route(&format!("/{path}"), any(not_built_for_tokens))
            .route(&format!("/{path}/"), any(not_built_for_tokens))
            .route(&format!("/{path}/{{*rest}}"), any(not_built_for_tokens))
    })
}

/// What is left to later versions.
async fn not_built() -> json_api::Error {
    json_api::Error::not_built("this version does not have what is at this path")
}

/// The same, where a token is needed.
async fn not_built_for_tokens(_: Bearer) -> json_api::Error {
    not_built().await
}

/// The routes of apps of one kind. The path of the list may have a slash at its end.
fn of_kind(kind: &'static Kind) -> Router<Shared> {
    let path = kind.path;
    let of_one = get(apps::show)
        .post(apps::install)
        .put(apps::update)
        .delete(apps::uninstall);
    Router::new()
        .route(&format!("/{path}"), get(apps::list))
        .route(&format!("/{path}/"), get(apps::list))
        .route(&format!("/{path}/{{slug}}"), of_one)
        .route(&format!("/{path}/{{slug}}/{{*below}}"), any(apps::unbuilt))
        .layer(axum::Extension(kind))
}
