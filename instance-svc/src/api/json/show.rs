//! `GET /instances/{domain}`.

use axum::extract::State;
use http::StatusCode;
use service_kit::json_api::{Administrator, Error, JsonApi, Segments};

use super::{
    parameters::refused,
    resource::{InstanceAnswer, answer},
};
use crate::{
    actions::find::{by_name, parse_resource_name},
    api::Shared,
    store::Found,
};

/// The name of an instance in the contract.
///
/// # Errors
/// When the domain is none.
pub(super) fn resource_name(domain: &str) -> Result<String, Error> {
    let name = format!("instances/{domain}");
    parse_resource_name("domain", &name).map_err(refused)?;
    Ok(name)
}

/// The instance with this domain or alias.
///
/// # Errors
/// When there is none, or the domain is none.
pub(super) async fn find(shared: &Shared, domain: &str) -> Result<Found, Error> {
    let name = parse_resource_name("domain", &format!("instances/{domain}")).map_err(refused)?;
    by_name(&shared.store, &name).await.map_err(refused)
}

/// Shows an instance.
#[utoipa::path(
    get,
    path = "/instances/{domain}",
    operation_id = "show_instance",
    tag = "instances",
    params(("domain" = String, Path, description = "The domain of the instance, or an alias")),
    responses(
        (status = 200, description = "The instance", body = InstanceAnswer, content_type = "application/vnd.api+json"),
    )
)]
pub(super) async fn show(
    State(shared): State<Shared>,
    Administrator(_): Administrator,
    Segments(domain): Segments<String>,
) -> Result<JsonApi<InstanceAnswer>, Error> {
    let found = find(&shared, &domain).await?;
    answer(StatusCode::OK, &found, None, &shared.clock)
}
