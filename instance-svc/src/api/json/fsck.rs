//! `GET /instances/{domain}/fsck`.

use axum::{
    body::Body,
    extract::State,
    response::{IntoResponse as _, Response},
};
use futures::StreamExt as _;
use hamlet_proto::hamlet::files::v1::{CheckTreeRequest, Finding};
use serde::Deserialize;
use serde_json::json;
use service_kit::{
    caller::for_tenant,
    json_api::{Administrator, Error, Query, Segments, query::flag},
};
use tonic::Status;
use utoipa::IntoParams;

use super::{parameters::refusal, show::find};
use crate::{api::Shared, messages};

/// What is checked.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, rename_all = "PascalCase")]
#[into_params(parameter_in = Query)]
pub(super) struct CheckParameters {
    /// Whether only the documents of the tree are checked.
    #[serde(deserialize_with = "flag")]
    index_integrity: Option<bool>,
    /// Whether only the contents are checked.
    #[serde(deserialize_with = "flag")]
    files_consistency: Option<bool>,
    /// Whether the check ends at the first finding.
    #[serde(deserialize_with = "flag")]
    fail_fast: Option<bool>,
}

/// Checks the files of an instance. The response has a line of JSON for each finding, and none when nothing is wrong.
#[utoipa::path(
    get,
    path = "/instances/{domain}/fsck",
    operation_id = "check_files",
    tag = "instances",
    params(("domain" = String, Path, description = "The domain of the instance, or an alias"), CheckParameters),
    responses((status = 200, description = "The findings, one in a line", body = String, content_type = "text/plain"))
)]
pub(super) async fn check(
    State(shared): State<Shared>,
    Administrator(_): Administrator,
    Segments(domain): Segments<String>,
    Query(asked): Query<CheckParameters>,
) -> Result<Response, Error> {
    let found = find(&shared, &domain).await?;
    let tenant = messages::tenant(
        &shared.config,
        &shared.clock,
        &found.id,
        &found.document.body,
        None,
    );
    let request = CheckTreeRequest {
        index_integrity: asked.index_integrity.unwrap_or_default(),
        files_consistency: asked.files_consistency.unwrap_or_default(),
        fail_fast: asked.fail_fast.unwrap_or_default(),
    };
    let mut client = shared.peers.trees();
    let findings = client.check_tree(for_tenant(request, &tenant)).await;
    let lines = findings
        .map_err(refusal)?
        .into_inner()
        .map(|finding| Ok::<_, std::convert::Infallible>(line(finding)));
    // The original gives no type.
    Ok(Body::from_stream(lines).into_response())
}

/// A finding in a line. The status is sent before the check ends, so an error stands in the last line.
fn line(finding: Result<Finding, Status>) -> String {
    let line = match finding {
        Ok(finding) => json!({
            "type": finding.r#type, "id": finding.file_id, "path": finding.path, "detail": finding.detail
        }),
        Err(status) => json!({"error": status.message()}),
    };
    format!("{line}\n")
}
