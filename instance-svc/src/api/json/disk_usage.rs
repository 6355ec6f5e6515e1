//! `GET /instances/{domain}/disk-usage`.

use axum::extract::State;
use hamlet_proto::hamlet::files::v1::GetUsageRequest;
use serde::{Deserialize, Serialize};
use service_kit::{
    caller::for_tenant,
    json_api::{Administrator, Error, Json, Query, Segments, query::text},
};
use utoipa::{IntoParams, ToSchema};

use super::{parameters::refusal, show::find};
use crate::{api::Shared, messages};

/// What is told.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub(super) struct UsageParameters {
    /// `trash` tells of the trash, too.
    #[serde(deserialize_with = "text")]
    include: Option<String>,
}

/// The room that the files of an instance take. Sizes are bytes, as text; those that are zero are left out.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DiskUsage {
    /// All files with their old versions.
    used: String,
    /// The quota, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    quota: Option<String>,
    /// The present versions.
    #[serde(skip_serializing_if = "Option::is_none")]
    files: Option<String>,
    /// The old versions.
    #[serde(skip_serializing_if = "Option::is_none")]
    versions: Option<String>,
    /// The files in the trash.
    #[serde(skip_serializing_if = "Option::is_none")]
    trashed: Option<String>,
    /// The number of documents of old versions, definitions of views among them.
    versions_count: String,
    /// The number of documents of files, definitions of indexes and views among them.
    doc_count: i64,
}

fn unless_zero(bytes: i64) -> Option<String> {
    (bytes != 0).then(|| bytes.to_string())
}

/// Tells how much room the files of an instance take.
#[utoipa::path(
    get,
    path = "/instances/{domain}/disk-usage",
    operation_id = "show_disk_usage",
    tag = "instances",
    params(("domain" = String, Path, description = "The domain of the instance, or an alias"), UsageParameters),
    responses((status = 200, description = "The room", body = DiskUsage, content_type = "application/json"))
)]
pub(super) async fn show(
    State(shared): State<Shared>,
    Administrator(_): Administrator,
    Segments(domain): Segments<String>,
    Query(asked): Query<UsageParameters>,
) -> Result<Json<DiskUsage>, Error> {
    let found = find(&shared, &domain).await?;
    let document = &found.document.body;
    let tenant = messages::tenant(&shared.config, &shared.clock, &found.id, document, None);
    let request = GetUsageRequest {
        with_trash: asked.include.as_deref() == Some("trash"),
    };
    let mut client = shared.peers.trees();
    let usage = client.get_usage(for_tenant(request, &tenant)).await;
    let usage = usage.map_err(refusal)?.into_inner();
    let quota = messages::instance(&found).disk_quota_bytes;
    Ok(Json(DiskUsage {
        used: usage
            .file_bytes
            .saturating_add(usage.version_bytes)
            .to_string(),
        quota: unless_zero(quota),
        files: unless_zero(usage.file_bytes),
        versions: unless_zero(usage.version_bytes),
        trashed: unless_zero(usage.trashed_bytes),
        versions_count: usage.version_documents.to_string(),
        doc_count: usage.file_documents,
    }))
}
