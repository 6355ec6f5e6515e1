//! `/instances/oauth_client`.

use axum::extract::State;
use identity::client::Registration;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use service_kit::json_api::{
    Administrator, Error, Json, Query,
    query::{flag, text},
};
use utoipa::{IntoParams, ToSchema};

use super::{parameters::refused, show::find, write::Write};
use crate::{
    actions::oauth::{Registrant, require_kept},
    api::Shared,
};

/// The parameters of a registration. Those about the onboarding are not used.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, rename_all = "PascalCase")]
#[into_params(parameter_in = Query)]
pub(super) struct RegistrationParameters {
    /// The domain of the instance, or an alias.
    #[serde(deserialize_with = "text")]
    domain: Option<String>,
    /// Where browsers are sent with the answer of the owner.
    #[serde(rename = "RedirectURI", deserialize_with = "text")]
    redirect_uri: Option<String>,
    /// Its name, for the owner.
    #[serde(deserialize_with = "text")]
    client_name: Option<String>,
    /// What software it is.
    #[serde(rename = "SoftwareID", deserialize_with = "text")]
    software_id: Option<String>,
    /// Whether it may ask for a login alone.
    #[serde(deserialize_with = "flag")]
    allow_login_scope: Option<bool>,
}

/// The parameters of a search.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub(super) struct SearchParameters {
    /// The domain of the instance, or an alias.
    #[serde(deserialize_with = "text")]
    domain: Option<String>,
    /// What software it is.
    #[serde(deserialize_with = "text")]
    software_id: Option<String>,
}

/// A client that has just been registered. Its secret is told here only.
#[derive(Serialize, ToSchema)]
pub(super) struct RegisteredClient {
    /// The id of the client.
    client_id: String,
    /// With this token the client may change its registration.
    registration_access_token: String,
    #[serde(flatten)]
    client: Map<String, Value>,
}

/// A client.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct FoundClient {
    /// The id of the client.
    #[serde(rename = "_id")]
    id: String,
    /// The revision of its document.
    #[serde(rename = "_rev")]
    rev: String,
    #[serde(flatten)]
    client: Map<String, Value>,
}

/// Registers an OAuth client.
#[utoipa::path(
    post,
    path = "/instances/oauth_client",
    operation_id = "register_oauth_client",
    tag = "instances",
    params(
        RegistrationParameters,
        ("Idempotency-Key" = Option<String>, Header, description = "The id of the request. A request with the same id and the \
            same parameters finds the client of the first")
    ),
    responses((status = 200, description = "The client, with its secret", body = RegisteredClient, content_type = "application/json"))
)]
pub(super) async fn register(
    State(shared): State<Shared>,
    Administrator(_): Administrator,
    write: Write,
    Query(parameters): Query<RegistrationParameters>,
) -> Result<Json<RegisteredClient>, Error> {
    let found = find(&shared, &parameters.domain.unwrap_or_default()).await?;
    require_kept(&found).map_err(refused)?;
    let asked = Registration {
        redirect_uris: parameters.redirect_uri.into_iter().collect(),
        client_name: parameters.client_name.unwrap_or_default(),
        software_id: parameters.software_id.unwrap_or_default(),
        allow_login_scope: parameters.allow_login_scope.unwrap_or_default(),
        ..Registration::default()
    };
    let by = Registrant::Administrator {
        request_id: &write.request_id,
    };
    let registered = shared
        .oauth(&found.id, &found.document.body)
        .register(&asked, by)
        .await
        .map_err(refused)?;
    Ok(Json(RegisteredClient {
        client_id: registered.id,
        registration_access_token: registered.token.expose().to_owned(),
        client: registered.document,
    }))
}

/// Finds an OAuth client by its software. Its secret is not told.
#[utoipa::path(
    get,
    path = "/instances/oauth_client",
    operation_id = "find_oauth_client",
    tag = "instances",
    params(SearchParameters),
    responses((status = 200, description = "The client", body = FoundClient, content_type = "application/json"))
)]
pub(super) async fn search(
    State(shared): State<Shared>,
    Administrator(_): Administrator,
    Query(parameters): Query<SearchParameters>,
) -> Result<Json<FoundClient>, Error> {
    let found = find(&shared, &parameters.domain.unwrap_or_default()).await?;
    let software = parameters.software_id.unwrap_or_default();
    let client = shared
        .oauth(&found.id, &found.document.body)
        .find(&software)
        .await
        .map_err(refused)?;
    Ok(Json(FoundClient {
        id: client.id,
        rev: client.rev.to_string(),
        client: client.body,
    }))
}
