//! Changes of each kind, and their effect on the documents of an instance.
#![allow(
    clippy::indexing_slicing,
    reason = "a member that is missing is the test failing"
)]

use couch::DbName;
use hamlet_proto::{
    google::longrunning::{Operation, operation},
    hamlet::instance::v1::{
        BlockInstanceRequest, CleanSessionsRequest, CreateInstanceRequest, CreateResetLinkRequest,
        DeleteInstanceRequest, GetInstanceRequest, Instance, RevokeTokensRequest,
        RotateRegisterLinkRequest, SetPassphraseRequest, UnblockInstanceRequest,
        UndeleteInstanceRequest, UpdateInstanceRequest,
    },
    unpack,
};
use instance_svc::domain::change::ChangeKind;
use serde_json::{Map, Value, json};
use test_kit::eventually;
use tonic::Status;

use super::{Clients, Replica, World, database, failure};

/// The documents of an instance, without their revisions.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Documents {
    pub(crate) id: String,
    pub(crate) instance: Map<String, Value>,
    pub(crate) settings: Map<String, Value>,
    pub(crate) record: Map<String, Value>,
    /// The claims of the instance by id, with how each name belongs to it.
    pub(crate) claims: Vec<(String, String)>,
}

impl World {
    /// A document without its id and revision; empty when it does not exist.
    pub(crate) async fn document(&self, database: &DbName, id: &str) -> Map<String, Value> {
        match self.couch.database(database).get(id).await {
            Err(couch::Error::DatabaseMissing { .. }) => Map::new(),
            found => found.unwrap().map_or_else(Map::new, |found| found.body),
        }
    }

    /// The documents of a global database as stored, without design documents.
    pub(crate) async fn bodies(&self, name: &str) -> Vec<couch::Document<Value>> {
        let database = self.couch.database(&DbName::global(name).unwrap());
        database::documents(&database).await
    }

    /// The operations of this kind, as stored.
    pub(crate) async fn operations(&self, kind: &str) -> Vec<Value> {
        let rows = self.bodies("hamlet-operations").await;
        rows.into_iter()
            .map(|row| row.body)
            .filter(|operation| operation["kind"] == kind)
            .collect()
    }

    /// All documents of the instance with this domain, as stored.
    pub(crate) async fn documents(&self, domain: &str) -> Documents {
        let global = |name: &str| DbName::global(name).unwrap();
        let id = self
            .bodies("instances")
            .await
            .into_iter()
            .find(|row| row.body["domain"] == domain)
            .unwrap_or_else(|| panic!("no document of {domain}"))
            .id;
        let instance = self.document(&global("instances"), &id).await;
        let prefix = instance["prefix"].as_str().unwrap();
        let settings = DbName::instance(prefix, "io.cozy.settings").unwrap();
        Documents {
            settings: self.document(&settings, "io.cozy.settings.instance").await,
            record: without_bookkeeping(self.document(&global("hamlet-instances"), &id).await),
            claims: self
                .bodies("hamlet-claims")
                .await
                .into_iter()
                .filter(|row| row.body["instance"] == id.as_str())
                .map(|row| (row.id, row.body["kind"].as_str().unwrap().to_owned()))
                .collect(),
            instance,
            id,
        }
    }

    /// The same once no operation has the instance: the copies that lists read are written by the write that frees it,
    /// after the end of the operation was told.
    pub(crate) async fn settled(&self, domain: &str) -> Documents {
        eventually("the instance is free", async || {
            let found = self.documents(domain).await;
            let records = DbName::global("hamlet-instances").unwrap();
            let record = self.document(&records, &found.id).await;
            match record.get("operation") {
                None | Some(Value::Null) => Ok(self.documents(domain).await),
                Some(held_by) => Err(held_by.clone()),
            }
        })
        .await
    }
}

/// A record without the entries that name operations: an instance is freed after the end of an operation is
/// reported.
fn without_bookkeeping(mut record: Map<String, Value>) -> Map<String, Value> {
    record.remove("operation");
    record.remove("last_operation");
    record.remove("created");
    record
}

impl Documents {
    /// The same with fields of the instance document changed; `null` removes one.
    pub(crate) fn with_instance(mut self, changes: Value) -> Self {
        merge(&mut self.instance, changes);
        self
    }

    /// The same with fields of the settings changed; `null` removes one.
    pub(crate) fn with_settings(mut self, changes: Value) -> Self {
        merge(&mut self.settings, changes);
        self
    }

    /// The same with fields of the record changed; `null` removes one.
    pub(crate) fn with_record(mut self, changes: Value) -> Self {
        merge(&mut self.record, changes);
        self
    }

    /// The same, with these names claimed.
    pub(crate) fn with_claims(mut self, claims: &[(&str, &str)]) -> Self {
        self.claims = claims
            .iter()
            .map(|(id, kind)| ((*id).to_owned(), (*kind).to_owned()))
            .collect();
        self
    }
}

fn merge(document: &mut Map<String, Value>, changes: Value) {
    let Value::Object(changes) = changes else {
        panic!("changes are an object");
    };
    for (name, value) in changes {
        if value.is_null() {
            document.remove(&name);
        } else {
            document.insert(name, value);
        }
    }
}

impl Clients {
    /// Changes the fields of the mask and waits for the end of the operation.
    pub(crate) async fn update(
        &self,
        domain: &str,
        paths: &[&str],
        instance: Instance,
    ) -> Result<Operation, Status> {
        let accepted = self.ask_to_update(domain, paths, instance).await?;
        Ok(self.end_of(&accepted.name).await)
    }

    pub(crate) async fn ask_to_update(
        &self,
        domain: &str,
        paths: &[&str],
        instance: Instance,
    ) -> Result<Operation, Status> {
        let answer = self
            .instances
            .clone()
            .update_instance(update_request(domain, paths, instance))
            .await?;
        Ok(answer.into_inner())
    }

    pub(crate) async fn get(&self, domain: &str) -> Result<Instance, Status> {
        let name = format!("instances/{domain}");
        let found = self
            .instances
            .clone()
            .get_instance(GetInstanceRequest { name })
            .await?;
        Ok(found.into_inner())
    }
}

pub(crate) fn update_request(
    domain: &str,
    paths: &[&str],
    instance: Instance,
) -> UpdateInstanceRequest {
    UpdateInstanceRequest {
        instance: Some(Instance {
            name: format!("instances/{domain}"),
            ..instance
        }),
        update_mask: Some(prost_types::FieldMask {
            paths: paths.iter().map(|&path| path.to_owned()).collect(),
        }),
        ..UpdateInstanceRequest::default()
    }
}

/// The response of an operation that succeeded.
pub(crate) fn response<M: prost::Message + prost::Name + Default>(operation: &Operation) -> M {
    match &operation.result {
        Some(operation::Result::Response(response)) => unpack(response).unwrap().unwrap(),
        other => panic!("it did not end well: {other:?}"),
    }
}

/// An instance on which a change of one kind can be made repeatedly.
pub(crate) struct Prepared {
    pub(crate) domain: String,
    before: Documents,
    claims: Vec<couch::Document<Map<String, Value>>>,
}

impl Prepared {
    /// Restores the documents. Until all are restored, an adoption of what other software writes may intervene.
    pub(crate) async fn restore(&self, world: &World) {
        while world.documents(&self.domain).await != self.before {
            self.write(world).await;
        }
    }

    async fn write(&self, world: &World) {
        let global = |name: &str| DbName::global(name).unwrap();
        let prefix = self.before.instance["prefix"].as_str().unwrap();
        let settings = DbName::instance(prefix, "io.cozy.settings").unwrap();
        let (id, before) = (&self.before.id, &self.before);
        put(world, &global("instances"), id, &before.instance).await;
        put(world, &global("hamlet-instances"), id, &before.record).await;
        put(
            world,
            &settings,
            "io.cozy.settings.instance",
            &before.settings,
        )
        .await;
        let claims = world.couch.database(&global("hamlet-claims"));
        for (id, _) in world.documents(&self.domain).await.claims {
            if !self.claims.iter().any(|claim| claim.id == id) {
                claims.release(&id, |_: &Value| true).await.unwrap();
            }
        }
        for claim in &self.claims {
            let claimed = claims.claim(&claim.id, &claim.body, |_| true).await;
            assert!(matches!(claimed.unwrap(), couch::ClaimOutcome::Won(_)));
        }
    }
}

async fn put(world: &World, database: &DbName, id: &str, body: &Map<String, Value>) {
    let database = world.couch.database(database);
    loop {
        let found: couch::Document<Value> = database.get(id).await.unwrap().unwrap();
        let written = database.compare_and_set(id, &found.rev, body).await;
        match written.unwrap() {
            couch::Exchange::Won(_) => return,
            couch::Exchange::Lost => {}
        }
    }
}

/// Makes an instance on which a change of this kind can be made.
pub(crate) async fn prepare(world: &World, replica: &Replica, kind: ChangeKind) -> Prepared {
    let domain = format!("{}.example", kind.name());
    // Who has forgotten a passphrase has chosen one.
    let passphrase = match kind {
        ChangeKind::ResetLink => "correct horse battery staple",
        _ => "",
    };
    let accepted = replica
        .instances
        .clone()
        .create_instance(CreateInstanceRequest {
            instance: Some(Instance {
                domain: domain.clone(),
                domain_aliases: vec![format!("old.{domain}")],
                email: "a@example.org".to_owned(),
                ..Instance::default()
            }),
            passphrase: passphrase.to_owned(),
            ..CreateInstanceRequest::default()
        })
        .await
        .unwrap()
        .into_inner();
    assert_eq!(failure(&replica.end_of(&accepted.name).await), None);
    let first = match kind {
        ChangeKind::Unblock => Some(ChangeKind::Block),
        ChangeKind::Undelete => Some(ChangeKind::Delete),
        _ => None,
    };
    if let Some(first) = first {
        let accepted = ask_for(replica, first, &domain).await.unwrap();
        assert_eq!(failure(&replica.end_of(&accepted.name).await), None);
    }
    let before = world.documents(&domain).await;
    let claims = world
        .couch
        .database(&DbName::global("hamlet-claims").unwrap());
    let ids: Vec<&str> = before.claims.iter().map(|(id, _)| id.as_str()).collect();
    let claims = claims.get_many(&ids).await.unwrap().into_values().collect();
    Prepared {
        domain,
        before,
        claims,
    }
}

/// Requests a change of this kind. The update has something to do in every step.
pub(crate) async fn ask_for(
    replica: &Replica,
    kind: ChangeKind,
    domain: &str,
) -> Result<Operation, Status> {
    let name = format!("instances/{domain}");
    let mut instances = replica.instances.clone();
    let answer = match kind {
        ChangeKind::Update => {
            let paths = ["domain_aliases", "email", "locale", "locked"];
            let instance = Instance {
                domain_aliases: vec![format!("new.{domain}")],
                locale: "de".to_owned(),
                ..Instance::default()
            };
            instances
                .update_instance(update_request(domain, &paths, instance))
                .await?
        }
        ChangeKind::Block => {
            instances
                .block_instance(BlockInstanceRequest {
                    name,
                    reason: "PAYMENT_FAILED".to_owned(),
                    ..BlockInstanceRequest::default()
                })
                .await?
        }
        ChangeKind::Unblock => {
            instances
                .unblock_instance(UnblockInstanceRequest {
                    name,
                    ..UnblockInstanceRequest::default()
                })
                .await?
        }
        ChangeKind::Delete => {
            instances
                .delete_instance(DeleteInstanceRequest {
                    name,
                    keep: Some(prost_types::Duration {
                        seconds: 86_400,
                        nanos: 0,
                    }),
                    ..DeleteInstanceRequest::default()
                })
                .await?
        }
        ChangeKind::Undelete => {
            instances
                .undelete_instance(UndeleteInstanceRequest {
                    name,
                    ..UndeleteInstanceRequest::default()
                })
                .await?
        }
        ChangeKind::RegisterLink => {
            instances
                .rotate_register_link(RotateRegisterLinkRequest {
                    name,
                    ..RotateRegisterLinkRequest::default()
                })
                .await?
        }
        ChangeKind::Passphrase => {
            instances
                .set_passphrase(SetPassphraseRequest {
                    name,
                    passphrase: "a long passphrase".to_owned(),
                    ..SetPassphraseRequest::default()
                })
                .await?
        }
        ChangeKind::ResetLink => {
            instances
                .create_reset_link(CreateResetLinkRequest {
                    name,
                    ..CreateResetLinkRequest::default()
                })
                .await?
        }
        ChangeKind::Tokens => {
            instances
                .revoke_tokens(RevokeTokensRequest {
                    name,
                    ..RevokeTokensRequest::default()
                })
                .await?
        }
        ChangeKind::Sessions => {
            instances
                .clean_sessions(CleanSessionsRequest {
                    name,
                    ..CleanSessionsRequest::default()
                })
                .await?
        }
    };
    Ok(answer.into_inner())
}

/// Checks that the change of [`ask_for`] was made to the previous documents, and nothing else.
pub(crate) async fn require_done(world: &World, kind: ChangeKind, prepared: &Prepared, how: &str) {
    let domain = prepared.domain.as_str();
    let mut now = world.documents(domain).await;
    let before = prepared.before.clone();
    let mut expected = match kind {
        ChangeKind::Update => {
            let alias = format!("new.{domain}");
            before
                .with_instance(json!({"domain_aliases": [alias], "locale": "de"}))
                .with_settings(json!({"email": null}))
                .with_record(json!({"email": ""}))
                .with_record(json!({"domain_aliases": [alias], "locale": "de"}))
                .with_claims(&[(&alias, "alias"), (domain, "domain")])
        }
        ChangeKind::Block => {
            let block = json!({"blocked": true, "blocking_reason": "PAYMENT_FAILED"});
            before
                .with_instance(block)
                .with_record(json!({"own_block": "PAYMENT_FAILED"}))
        }
        ChangeKind::Unblock => before
            .with_instance(json!({"blocked": null, "blocking_reason": null}))
            .with_record(json!({"own_block": null})),
        ChangeKind::Delete => before
            .with_instance(json!({"blocked": true, "blocking_reason": "DELETED"}))
            .with_record(json!({
                "blocked_before": {"blocked": false},
                "deleted_at": now.record["deleted_at"].as_str().unwrap(),
                "purge_at": now.record["purge_at"].as_str().unwrap(),
            })),
        ChangeKind::Undelete => before
            .with_instance(json!({"blocked": null, "blocking_reason": null}))
            .with_record(json!({"blocked_before": null, "deleted_at": null, "purge_at": null})),
        ChangeKind::RegisterLink => {
            require_renewed(&before, &now, &["register_token"], how);
            before
                .with_instance(json!({"register_token": now.instance["register_token"]}))
                .with_record(json!({
                    "register_expires_at": now.record["register_expires_at"]
                }))
        }
        ChangeKind::Passphrase => {
            require_renewed(&before, &now, &["passphrase_hash", "session_secret"], how);
            before
                .with_instance(json!({
                    "passphrase_hash": now.instance["passphrase_hash"],
                    "session_secret": now.instance["session_secret"],
                    "register_token": null,
                    "onboarding_finished": true,
                    "password_defined": true,
                }))
                .with_record(json!({"register_expires_at": null}))
        }
        ChangeKind::ResetLink => {
            require_renewed(&before, &now, &["passphrase_reset_token"], how);
            before.with_instance(json!({
                "passphrase_reset_token": now.instance["passphrase_reset_token"],
                "passphrase_reset_time": now.instance["passphrase_reset_time"],
            }))
        }
        ChangeKind::Tokens => {
            let keys = ["session_secret", "oauth_secret", "cli_secret"];
            require_renewed(&before, &now, &keys, how);
            before.with_instance(json!({
                "session_secret": now.instance["session_secret"],
                "oauth_secret": now.instance["oauth_secret"],
                "cli_secret": now.instance["cli_secret"],
            }))
        }
        // The databases of sessions are separate.
        ChangeKind::Sessions => before,
    };
    now.claims.sort();
    expected.claims.sort();
    assert_eq!(now, expected, "{how}");
}

/// Checks that these secrets of the instance document exist and differ from the previous ones.
fn require_renewed(before: &Documents, now: &Documents, secrets: &[&str], how: &str) {
    for &secret in secrets {
        let is = now.instance.get(secret);
        assert!(is.is_some_and(Value::is_string), "{how}: no {secret}");
        assert_ne!(is, before.instance.get(secret), "{how}: {secret}");
    }
}

/// Checks that everything is as before.
pub(crate) async fn require_undone(world: &World, prepared: &Prepared, how: &str) {
    assert_eq!(
        world.documents(&prepared.domain).await,
        prepared.before,
        "{how}"
    );
}
