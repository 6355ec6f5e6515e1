//! `/instances/contexts`.

use axum::extract::State;
use hamlet_proto::hamlet::instance::v1::{
    Context, ListContextsRequest, instance_service_server::InstanceService as _,
};
use http::StatusCode;
use serde::Serialize;
use serde_json::{Map, Value};
use service_kit::{
    caller::Caller,
    json_api::{Administrator, Error, ErrorDocument, Json, Segments},
};
use utoipa::ToSchema;

use super::parameters::refusal;
use crate::api::{Shared, instances::Instances};

/// A context of the configuration.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ShownContext {
    /// Settings of other software. Hamlet has none of them: always null.
    config: Option<Map<String, Value>>,
    /// The name.
    context: String,
    /// Where its instances look up apps, in this order.
    registries: Vec<String>,
    /// A provider of logins. Hamlet has none: always null.
    oidc: Option<Map<String, Value>>,
}

impl From<Context> for ShownContext {
    fn from(context: Context) -> Self {
        Self {
            config: None,
            context: context.name,
            registries: context.registries,
            oidc: None,
        }
    }
}

async fn read(shared: Shared, caller: &Caller) -> Result<Vec<Context>, Error> {
    let listed = Instances(shared)
        .list_contexts(caller.call(ListContextsRequest {}))
        .await
        .map_err(refusal)?;
    Ok(listed.into_inner().contexts)
}

/// Lists the contexts.
#[utoipa::path(
    get,
    path = "/instances/contexts",
    operation_id = "list_contexts",
    tag = "installation",
    responses(
        (status = 200, description = "The contexts, by name", body = Vec<ShownContext>, content_type = "application/json")
    )
)]
pub(super) async fn list(
    State(shared): State<Shared>,
    Administrator(caller): Administrator,
) -> Result<Json<Vec<ShownContext>>, Error> {
    let contexts = read(shared, &caller).await?;
    Ok(Json(contexts.into_iter().map(Into::into).collect()))
}

/// Shows a context.
#[utoipa::path(
    get,
    path = "/instances/contexts/{name}",
    operation_id = "show_context",
    tag = "installation",
    params(("name" = String, Path, description = "The name of the context")),
    responses(
        (status = 200, description = "The context", body = ShownContext, content_type = "application/json"),
        (status = 404, description = "There is none of this name", body = ErrorDocument, content_type = "application/vnd.api+json")
    )
)]
pub(super) async fn show(
    State(shared): State<Shared>,
    Administrator(caller): Administrator,
    Segments(name): Segments<String>,
) -> Result<Json<ShownContext>, Error> {
    let contexts = read(shared, &caller).await?;
    let found = contexts.into_iter().find(|context| context.name == name);
    let found = found.ok_or_else(|| no_such_context(&name))?;
    Ok(Json(found.into()))
}

/// The refusal of a name that no context has.
pub(super) fn no_such_context(name: &str) -> Error {
    Error::new(
        StatusCode::NOT_FOUND,
        "CONTEXT_NOT_FOUND",
        format!("no context is called {name:?}; GET /instances/contexts lists them"),
    )
}
