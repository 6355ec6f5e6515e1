//! Plain HTTP: web apps on their hosts, for browsers, and their icons and code.
//!
//! - [`visit`] is a request to the host of an app
//! - [`file`] answers with a file, [`page`] with a page and its values
//! - [`icon`] has the icons of apps and [`download`] their code, on the host of the instance; [`reading`] says who may
//!   have them
//! - [`refusal`] tells people and programs why there is none

mod download;
mod file;
mod icon;
mod page;
mod reading;
mod refusal;
mod visit;

use axum::{
    Extension, Router,
    extract::{Request, State},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse as _, Response},
    routing::{any, get},
};
use http::StatusCode;
use service_kit::{caller::Caller, json_api};
use tonic::Status;

use self::visit::Visit;
use crate::{actions::Shared, domain::app_type::AppType};

/// The routes. Requests to the host of an app have that app's own.
pub(crate) fn routes(shared: Shared) -> Router {
    Router::new()
        .route("/", any(nothing_here))
        .route("/{*path}", any(nothing_here))
        .merge(on_instances().with_state(shared.clone()))
        .layer(from_fn_with_state(shared, app_host))
}

/// The routes on the hosts of instances.
fn on_instances() -> Router<Shared> {
    of_apps("apps", AppType::Webapp).merge(of_apps("konnectors", AppType::Konnector))
}

/// What is below an app of a kind, on the host of its instance.
fn of_apps(path: &str, kind: AppType) -> Router<Shared> {
    Router::new()
        .route(&format!("/{path}/{{slug}}/icon"), get(icon::show))
        .route(
            &format!("/{path}/{{slug}}/icon/{{version}}"),
            get(icon::show),
        )
        .route(&format!("/{path}/{{slug}}/download"), get(download::send))
        .route(
            &format!("/{path}/{{slug}}/download/{{version}}"),
            get(download::send),
        )
        .layer(Extension(kind))
        .method_not_allowed_fallback(json_api::no_such_method)
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use test_kit::routes::assert_listed;

    use super::on_instances;

    /// Tests from outside try every route of the list with each credential.
    #[test]
    fn the_routes_of_the_public_door_are_listed() {
        let list = Path::new(env!("CARGO_MANIFEST_DIR")).join("public-routes.txt");
        assert_listed(&format!("{:?}", on_instances()), &list);
    }
}
