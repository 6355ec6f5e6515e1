//! `GET /instances/count`.

use axum::extract::State;
use hamlet_proto::hamlet::instance::v1::{
    CountInstancesRequest, instance_service_server::InstanceService as _,
};
use serde::Serialize;
use service_kit::json_api::{Administrator, Error, Json};
use utoipa::ToSchema;

use super::parameters::refusal;
use crate::api::{Shared, instances::Instances};

/// The number of instances.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Count {
    /// The number.
    count: i64,
}

/// Counts the instances.
#[utoipa::path(
    get,
    path = "/instances/count",
    operation_id = "count_instances",
    tag = "instances",
    responses(
        (status = 200, description = "The number", body = Count, content_type = "application/json"),
    )
)]
pub(super) async fn count(
    State(shared): State<Shared>,
    Administrator(caller): Administrator,
) -> Result<Json<Count>, Error> {
    let counted = Instances(shared)
        .count_instances(caller.call(CountInstancesRequest {}))
        .await
        .map_err(refusal)?;
    Ok(Json(Count {
        count: counted.get_ref().count,
    }))
}
