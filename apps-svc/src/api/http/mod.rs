//! Plain HTTP: web apps on their hosts, for browsers, and the icons of apps.
//!
//! - [`visit`] is a request to the host of an app
//! - [`file`] answers with a file, [`page`] with a page and its values
//! - [`icon`] has the icons, on the host of the instance
//! - [`refusal`] tells people and programs why there is none

mod file;
mod icon;
mod page;
mod refusal;
mod visit;

use axum::{
    Router,
    extract::{Request, State},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse as _, Response},
    routing::any,
};
use http::StatusCode;
use service_kit::{caller::Caller, json_api};
use tonic::Status;

use self::visit::Visit;
use crate::actions::Shared;

/// The routes. Requests to the host of an app have that app's own.
pub(crate) fn routes(shared: Shared) -> Router {
    Router::new()
        .route("/", any(nothing_here))
        .route("/{*path}", any(nothing_here))
        .merge(icon::routes().with_state(shared.clone()))
        .layer(from_fn_with_state(shared, app_host))
}

async fn nothing_here() -> json_api::Error {
    json_api::Error::new(
        StatusCode::NOT_FOUND,
        "NO_SUCH_PATH",
        "there is nothing at this path",
    )
}

/// Leads requests to the host of an app to that app.
async fn app_host(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let Some(caller) = request.extensions().get::<Caller>().cloned() else {
        let refused = Status::internal("the routes were served without authentication");
        return json_api::Error::from(refused).into_response();
    };
    if caller.app().is_none() {
        return next.run(request).await;
    }
    let (head, _) = request.into_parts();
    match Visit::of(&shared, &caller, &head) {
        Ok(visit) => visit.answer().await,
        Err(refused) => json_api::Error::from(refused).into_response(),
    }
}
