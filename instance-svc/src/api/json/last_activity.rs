//! `GET /instances/{domain}/last-activity`.

use axum::extract::State;
use serde::Serialize;
use service_kit::json_api::{Administrator, Error, Json, Segments};
use utoipa::ToSchema;

use super::{parameters::refused, show::find};
use crate::{actions::last_activity::last_activity, api::Shared};

/// When an instance was used last.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Activity {
    /// The day, as in `2026-11-30`; 2018-01-01 when it never was.
    #[serde(rename = "last-activity")]
    last_activity: String,
}

/// Tells on which day an instance was used last, by its logins, sessions and OAuth clients.
#[utoipa::path(
    get,
    path = "/instances/{domain}/last-activity",
    operation_id = "show_last_activity",
    tag = "instances",
    params(("domain" = String, Path, description = "The domain of the instance, or an alias")),
    responses((status = 200, description = "The day", body = Activity, content_type = "application/json"))
)]
pub(super) async fn show(
    State(shared): State<Shared>,
    Administrator(_): Administrator,
    Segments(domain): Segments<String>,
) -> Result<Json<Activity>, Error> {
    let found = find(&shared, &domain).await?;
    let last_activity = last_activity(&shared.store, &found)
        .await
        .map_err(refused)?;
    Ok(Json(Activity { last_activity }))
}
