//! `GET /instances/{domain}/prefix` and `/swift-prefix`.

use axum::extract::State;
use service_kit::json_api::{Administrator, Error, Json, Segments};

use super::show::find;
use crate::api::Shared;

/// Shows the prefix of the databases of an instance.
#[utoipa::path(
    get,
    path = "/instances/{domain}/prefix",
    operation_id = "show_prefix",
    tag = "instances",
    params(("domain" = String, Path, description = "The domain of the instance, or an alias")),
    responses(
        (status = 200, description = "The prefix", body = String, content_type = "application/json"),
    )
)]
pub(super) async fn show(
    State(shared): State<Shared>,
    Administrator(_): Administrator,
    Segments(domain): Segments<String>,
) -> Result<Json<String>, Error> {
    let found = find(&shared, &domain).await?;
    Ok(Json(found.document.body.database_prefix().to_owned()))
}

/// Shows the containers of an instance in Swift: none, always.
#[utoipa::path(
    get,
    path = "/instances/{domain}/swift-prefix",
    operation_id = "show_swift_prefix",
    tag = "instances",
    params(("domain" = String, Path, description = "The domain of the instance, or an alias")),
    responses(
        (status = 200, description = "Null: contents do not lie in Swift", body = Option<String>, content_type = "application/json"),
    )
)]
pub(super) async fn show_swift(
    State(shared): State<Shared>,
    Administrator(_): Administrator,
    Segments(domain): Segments<String>,
) -> Result<Json<Option<String>>, Error> {
    find(&shared, &domain).await?;
    Ok(Json(None))
}
