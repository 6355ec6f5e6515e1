//! Changes of each kind, and what each does to the documents of an instance.
#![allow(
    clippy::indexing_slicing,
    reason = "a member that is missing is the test failing"
)]

use couch::DbName;
use hamlet_proto::{
    google::longrunning::{Operation, operation},
    hamlet::instance::v1::{
        BlockInstanceRequest, CreateInstanceRequest, GetInstanceRequest, Instance,
        UnblockInstanceRequest, UpdateInstanceRequest,
    },
    unpack,
};
use instance_svc::domain::change::ChangeKind;
use serde_json::{Map, Value, json};
use tonic::Status;

use super::{Replica, World, failure};

/// The documents of an instance, without their revisions.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Documents {
    pub(crate) id: String,
    pub(crate) instance: Map<String, Value>,
    pub(crate) settings: Map<String, Value>,
    pub(crate) record: Map<String, Value>,
    /// The claims of the instance by their ids: what the name is to it.
    pub(crate) claims: Vec<(String, String)>,
}

impl World {
    /// One document, without its id and revision; empty when there is none.
    pub(crate) async fn document(&self, database: &DbName, id: &str) -> Map<String, Value> {
        let found = self.couch.database(database).get(id).await.unwrap();
        found.map_or_else(Map::new, |found| found.body)
    }

    /// All documents of the instance with this domain, as they lie in the database.
    pub(crate) async fn documents(&self, domain: &str) -> Documents {
        use futures::TryStreamExt as _;
        let global = |name: &str| DbName::global(name).unwrap();
        let all = async |name: &str| -> Vec<couch::Document<Value>> {
            let database = self.couch.database(&global(name));
            let rows: Vec<couch::Document<Value>> = database
                .all_docs_with_bodies(couch::AllDocs::new())
                .try_collect()
                .await
                .unwrap();
            rows.into_iter()
                .filter(|row| !row.id.starts_with("_design/"))
                .collect()
        };
        let id = all("instances")
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
            record: self.document(&global("hamlet-instances"), &id).await,
            claims: all("hamlet-claims")
                .await
                .into_iter()
                .filter(|row| row.body["instance"] == id.as_str())
                .map(|row| (row.id, row.body["kind"].as_str().unwrap().to_owned()))
                .collect(),
            instance,
            id,
        }
    }
}

impl Documents {
    /// The same, with fields of the instance document changed; `null` takes one away.
    pub(crate) fn with_instance(mut self, changes: Value) -> Self {
        merge(&mut self.instance, changes);
        self
    }

    /// The same, with fields of the settings changed; `null` takes one away.
    pub(crate) fn with_settings(mut self, changes: Value) -> Self {
        merge(&mut self.settings, changes);
        self
    }

    /// The same, with fields of our own document changed; `null` takes one away.
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

impl Replica {
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

/// What came of an operation that has ended well.
pub(crate) fn response<M: prost::Message + prost::Name + Default>(operation: &Operation) -> M {
    match &operation.result {
        Some(operation::Result::Response(response)) => unpack(response).unwrap().unwrap(),
        other => panic!("it did not end well: {other:?}"),
    }
}

/// Makes an instance at which a change of this kind can be done, and tells how it is.
pub(crate) async fn prepare(
    world: &World,
    replica: &Replica,
    kind: ChangeKind,
    domain: &str,
) -> Documents {
    let accepted = replica
        .instances
        .clone()
        .create_instance(CreateInstanceRequest {
            instance: Some(Instance {
                domain: domain.to_owned(),
                domain_aliases: vec![format!("old.{domain}")],
                email: "a@example.org".to_owned(),
                ..Instance::default()
            }),
            ..CreateInstanceRequest::default()
        })
        .await
        .unwrap()
        .into_inner();
    assert_eq!(failure(&replica.end_of(&accepted.name).await), None);
    match kind {
        ChangeKind::Unblock => {
            let accepted = ask_for(replica, ChangeKind::Block, domain).await.unwrap();
            assert_eq!(failure(&replica.end_of(&accepted.name).await), None);
        }
        ChangeKind::Update | ChangeKind::Block => {}
        other => panic!("{other:?} is not built yet"),
    }
    world.documents(domain).await
}

/// Asks for a change of this kind. The update has something to do in every step.
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
        other => panic!("{other:?} is not built yet"),
    };
    Ok(answer.into_inner())
}

/// Whether the change of [`ask_for`] was done to what was there before, and nothing else was.
pub(crate) async fn require_done(world: &World, kind: ChangeKind, before: &Documents, how: &str) {
    let domain = before.instance["domain"].as_str().unwrap();
    let before = before.clone();
    let expected = match kind {
        ChangeKind::Update => {
            let alias = format!("new.{domain}");
            before
                .with_instance(json!({"domain_aliases": [alias], "locale": "de"}))
                .with_settings(json!({"email": null}))
                .with_record(json!({"domain_aliases": [alias], "locale": "de"}))
                .with_claims(&[(&alias, "alias"), (domain, "domain")])
        }
        ChangeKind::Block => {
            before.with_instance(json!({"blocked": true, "blocking_reason": "PAYMENT_FAILED"}))
        }
        ChangeKind::Unblock => {
            before.with_instance(json!({"blocked": null, "blocking_reason": null}))
        }
        other => panic!("{other:?} is not built yet"),
    };
    let mut now = world.documents(domain).await;
    let mut expected = expected;
    now.claims.sort();
    expected.claims.sort();
    assert_eq!(now, expected, "{kind:?} {how}");
}

/// Whether everything is as it was before.
pub(crate) async fn require_undone(world: &World, before: &Documents, how: &str) {
    let domain = before.instance["domain"].as_str().unwrap();
    assert_eq!(world.documents(domain).await, *before, "{how}");
}
