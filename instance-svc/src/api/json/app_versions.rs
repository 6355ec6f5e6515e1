//! `GET /instances/with-app-version/{slug}/{version}`.

use axum::extract::State;
use serde::Serialize;
use service_kit::json_api::{Administrator, Error, Json, Segments};
use utoipa::ToSchema;

use super::parameters::refused;
use crate::{actions::app_versions::app_versions, api::Shared};

/// The instances that have an app in a version.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct WithVersion {
    /// Their domains; null when there are none.
    instances: Option<Vec<String>>,
}

/// Lists the instances that have a web app in this version. Each instance is asked.
#[utoipa::path(
    get,
    path = "/instances/with-app-version/{slug}/{version}",
    operation_id = "list_instances_with_app_version",
    tag = "instances",
    params(
        ("slug" = String, Path, description = "The slug of the app"),
        ("version" = String, Path, description = "The version")
    ),
    responses((status = 200, description = "The instances", body = WithVersion, content_type = "application/json"))
)]
pub(super) async fn list(
    State(shared): State<Shared>,
    Administrator(_): Administrator,
    Segments((slug, version)): Segments<(String, String)>,
) -> Result<Json<WithVersion>, Error> {
    let domains = app_versions(
        &shared.store,
        &shared.peers,
        &shared.config,
        &shared.clock,
        &slug,
        &version,
    )
    .await
    .map_err(refused)?;
    Ok(Json(WithVersion {
        instances: (!domains.is_empty()).then_some(domains),
    }))
}
