//! Handlers for OAuth clients.

use hamlet_proto::hamlet::instance::v1::{
    FindOauthClientRequest, OauthClient, RegisterOauthClientRequest,
};
use identity::client::{Client, Registration};
use serde_json::{Map, Value};
use tonic::Status;

use super::Shared;
use crate::{
    actions::{
        find,
        oauth::{Registrant, require_kept},
    },
    error::Error,
    messages::timestamp,
    store::Found,
};

async fn found(shared: &Shared, name: &str) -> Result<Found, Error> {
    let name = find::parse_resource_name("name", name)?;
    find::created_by_name(&shared.store, shared.engine.log(), &name).await
}

/// Registers a client.
pub(super) async fn register(
    shared: &Shared,
    request: RegisterOauthClientRequest,
) -> Result<OauthClient, Status> {
    let found = found(shared, &request.name).await?;
    require_kept(&found)?;
    let asked = Registration {
        redirect_uris: request.redirect_uris,
        client_name: request.client_name,
        software_id: request.software_id,
        allow_login_scope: request.allow_login_scope,
        ..Registration::default()
    };
    let by = Registrant::Administrator {
        request_id: &request.request_id,
    };
    let registered = shared
        .oauth(&found.id, &found.document.body)
        .register(&asked, by)
        .await?;
    Ok(OauthClient {
        client_secret: Client::of(&registered.document).secret().to_owned(),
        registration_access_token: registered.token.expose().to_owned(),
        ..message(registered.id, &registered.document)
    })
}

/// Finds a client by its software.
pub(super) async fn search(
    shared: &Shared,
    request: &FindOauthClientRequest,
) -> Result<OauthClient, Status> {
    let found = found(shared, &request.name).await?;
    let client = shared
        .oauth(&found.id, &found.document.body)
        .find(&request.software_id)
        .await?;
    Ok(message(client.id, &client.body))
}

/// A client without its secrets.
fn message(id: String, document: &Map<String, Value>) -> OauthClient {
    let client = Client::of(document);
    OauthClient {
        client_id: id,
        client_name: client.name().to_owned(),
        software_id: client.software().to_owned(),
        redirect_uris: client.redirect_uris().map(str::to_owned).collect(),
        client_kind: client.kind().to_owned(),
        allow_login_scope: client.may_ask_for_login(),
        create_time: client.registered_at().map(timestamp),
        client_secret: String::new(),
        registration_access_token: String::new(),
    }
}
