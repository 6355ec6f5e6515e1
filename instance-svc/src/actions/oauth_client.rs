//! Registering an OAuth client of an instance, and finding one.

use std::collections::HashSet;

use base64::{Engine as _, engine::general_purpose::URL_SAFE};
use couch::{DocId, Document};
use serde_json::{Map, Value};
use service_kit::secret::Secret;

use crate::{
    clock::Clock,
    domain::{
        oauth_client::Registration,
        record::Refusal,
        token::{Audience, Claims},
    },
    error::Error,
    store::{Found, Store},
};

/// A client that has just been registered. It has no `Debug`: its document holds its secret.
pub(crate) struct Registered {
    pub(crate) id: String,
    /// Its document, with its secret.
    pub(crate) document: Map<String, Value>,
    /// With this token the client may change its registration.
    pub(crate) token: Secret,
}

/// Registers a client.
///
/// # Errors
/// Names the fields that cannot be used; the instance was deleted softly; the database fails.
pub(crate) async fn register(
    store: &Store,
    clock: &Clock,
    found: &Found,
    asked: &Registration,
) -> Result<Registered, Error> {
    let instance = &found.document.body;
    asked.check(&instance.domain)?;
    let record = found.record.as_ref().map(|record| &record.body);
    if record.is_some_and(|record| record.deleted_at.is_some()) {
        return Err(Error::Refused {
            domain: instance.domain.clone(),
            why: Refusal::Deleted,
        });
    }
    let key = instance
        .token_key(Audience::Registration)
        .ok_or_else(|| Error::NoTokenKey(instance.domain.clone()))?;
    let clients = store.oauth_clients(instance.location()).await?;
    let names: HashSet<String> = clients
        .iter()
        .filter_map(|client| client.body.get("client_name")?.as_str())
        .map(str::to_owned)
        .collect();
    let mut secret = [0; 24];
    getrandom::fill(&mut secret)?;
    let document = asked.document(
        &asked.free_name(&names),
        &URL_SAFE.encode(secret),
        clock.now(),
    );
    let id = DocId::ascending().into_string();
    store
        .add_oauth_client(instance.location(), &id, &document)
        .await?;
    let claims = Claims {
        session: "",
        audience: Audience::Registration,
        issuer: &instance.domain,
        subject: &id,
        scope: "",
    };
    let token = Secret::new(claims.sign(&key, clock.now(), None)?);
    Ok(Registered {
        id,
        document,
        token,
    })
}

/// The first client of a software, without its secret.
///
/// # Errors
/// [`Error::NoSuchClient`]; the database fails.
pub(crate) async fn find(
    store: &Store,
    found: &Found,
    software_id: &str,
) -> Result<Document<Map<String, Value>>, Error> {
    let instance = &found.document.body;
    let clients = store.oauth_clients(instance.location()).await?;
    let of_software = |client: &Document<Map<String, Value>>| {
        client.body.get("software_id").and_then(Value::as_str) == Some(software_id)
    };
    let mut client = clients
        .into_iter()
        .find(of_software)
        .ok_or_else(|| Error::NoSuchClient {
            id: format!("of the software {software_id}"),
            domain: instance.domain.clone(),
        })?;
    client.body.shift_remove("client_secret");
    Ok(client)
}
