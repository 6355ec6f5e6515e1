//! Passphrases, register links, sessions and tokens: their effect on the documents, and who may set a
//! passphrase.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a failed expectation is the test failing"
)]

mod changing;
mod creation;
mod identity;
mod registration;
mod tokens;

use crate::support::{Replica, World, failure};
use couch::DbName;
use hamlet_proto::{
    google::longrunning::{Operation, operation},
    hamlet::instance::v1::{
        CreateInstanceRequest, GetInstanceRequest, GetRegisterLinkRequest, Instance, RegisterLink,
    },
    unpack,
};
use instance_svc::domain::passphrase::client::{Iterations, MasterKey, salt};
use serde_json::Value;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

const PASSPHRASE: &str = "correct horse battery staple";

pub(crate) fn asking(domain: &str, passphrase: &str) -> CreateInstanceRequest {
    CreateInstanceRequest {
        instance: Some(Instance {
            domain: domain.to_owned(),
            ..Instance::default()
        }),
        passphrase: passphrase.to_owned(),
        ..CreateInstanceRequest::default()
    }
}

pub(crate) async fn create(
    replica: &Replica,
    request: CreateInstanceRequest,
) -> Result<Operation, Status> {
    let accepted = replica.instances.clone().create_instance(request).await?;
    let ended = replica.end_of(&accepted.into_inner().name).await;
    assert_eq!(failure(&ended), None);
    Ok(ended)
}

pub(crate) async fn get(replica: &Replica, domain: &str) -> Instance {
    let request = GetInstanceRequest {
        name: format!("instances/{domain}"),
    };
    replica
        .instances
        .clone()
        .get_instance(request)
        .await
        .unwrap()
        .into_inner()
}

pub(crate) async fn document(world: &World, database: DbName, id: &str) -> Value {
    let found = world.couch.database(&database).get::<Value>(id).await;
    found.unwrap().unwrap().body
}

/// Writes a document as other software would.
pub(crate) async fn put(world: &World, database: &DbName, id: &str, body: &Value) {
    world.couch.create_database(database).await.unwrap();
    let written = world.couch.database(database).put(id, None, body).await;
    assert!(matches!(written, Ok(couch::Write::Committed(_))));
}

pub(crate) async fn instance_document(world: &World, instance: &Instance) -> Value {
    document(world, DbName::global("instances").unwrap(), &instance.id).await
}

pub(crate) async fn vault_settings(world: &World, instance: &Instance) -> Value {
    let database = DbName::instance(&instance.prefix, "io.cozy.settings").unwrap();
    document(world, database, "io.cozy.settings.bitwarden").await
}

pub(crate) async fn operation_document(world: &World, operation: &Operation) -> Value {
    let id = operation.name.strip_prefix("operations/").unwrap();
    document(world, DbName::global("hamlet-operations").unwrap(), id).await
}

/// The login hash of a client.
pub(crate) fn login_hash(domain: &str, old_domain: &str, passphrase: &str) -> String {
    let salt = salt(domain, old_domain);
    MasterKey::derive(passphrase, &salt, Iterations::DEFAULT).login_hash(passphrase)
}

pub(crate) fn fields(document: &Value) -> Vec<&str> {
    let mut fields: Vec<_> = document
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    fields.sort_unstable();
    fields
}

/// The field that a refusal names.
pub(crate) fn field(refused: &Status) -> String {
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
    let violations = refused.get_details_bad_request().unwrap().field_violations;
    violations[0].field.clone()
}

/// The register link.
pub(crate) async fn register_link(replica: &Replica, domain: &str) -> Result<RegisterLink, Status> {
    let request = GetRegisterLinkRequest {
        name: format!("instances/{domain}"),
    };
    let link = replica.instances.clone().get_register_link(request).await?;
    Ok(link.into_inner())
}

/// The result of an operation.
pub(crate) fn result<T: prost::Name + Default>(operation: &Operation) -> T {
    let Some(operation::Result::Response(response)) = &operation.result else {
        panic!("{operation:?}");
    };
    unpack(response).unwrap().unwrap()
}
