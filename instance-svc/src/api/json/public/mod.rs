//! Routes of the public door: what existing command lines send to an instance itself, with a token of it.

mod apps;
mod bearer;
mod flags;
mod passphrase;

use axum::{
    Router,
    routing::{any, get, put},
};

use self::apps::Kind;
use crate::api::Shared;

/// These routes. The document at the admin door does not describe them: they are of another door.
pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .merge(of_kind(Kind::WEBAPP))
        .merge(of_kind(Kind::KONNECTOR))
        .route("/settings/flags", get(flags::show))
        .route("/settings/passphrase", put(passphrase::set))
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
