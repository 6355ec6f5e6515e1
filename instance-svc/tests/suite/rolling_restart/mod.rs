//! During a rolling restart, version 0.1.0 and the current version drive each other's operations. These tests
//! read what the current version writes with the types of version 0.1.0.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed expectation is the test failing"
)]

mod version_0_1_0;

use std::time::Duration;

use hamlet_proto::hamlet::instance::v1::{
    CreateInstanceRequest, DeleteInstanceRequest, Instance, OperationMetadata,
    operation_metadata::Phase as Shown,
};
use instance_svc::{
    Settings,
    operations::failpoints::{Failpoints, Order},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use self::version_0_1_0::{
    CHANGE_STEPS, CREATE_STEPS, Change, Claim, DESTROY_STEPS, Operation, Phase, Record, Work,
};
use crate::support::{Clients, World, changes::update_request, failure, hasty, operation_id};

/// A replica that fails before the step of this name. Its pauses are so long that no test waits for the next
/// try.
fn stuck_at(name: &str, step: &'static str) -> Settings {
    let failpoints = Failpoints::new(move |_, at| {
        if at.step.step == step && !at.undo && !at.after {
            Order::Fail
        } else {
            Order::Go
        }
    });
    Settings {
        first_pause: Duration::from_secs(3600),
        longest_pause: Duration::from_secs(3600),
        ..hasty(name, failpoints)
    }
}

fn waits(metadata: &OperationMetadata) -> bool {
    metadata.phase() == Shown::Waiting
}

/// Members that version 0.1.0 does not know, and drops when it writes the document back.
const NEW: [&str; 10] = [
    "created",
    "destroying",
    "email",
    "labels",
    "last_look",
    "last_operation",
    "node_away",
    "own_block",
    "reached",
    "seed",
];

/// Reads a document as version 0.1.0 does. No other member may get lost when that version writes the document
/// back.
fn read<T: DeserializeOwned + Serialize>(document: &Value) -> T {
    let read: T = serde_json::from_value(document.clone())
        .unwrap_or_else(|error| panic!("{error}: {document:#}"));
    let written = serde_json::to_value(&read).unwrap();
    for (name, value) in document.as_object().unwrap() {
        if !NEW.contains(&name.as_str()) {
            assert_eq!(written.get(name), Some(value), "{name} of {document:#}");
        }
    }
    read
}

/// Reads everything in the databases as version 0.1.0 does; returns the operation of this name.
async fn operation(world: &World, name: &str) -> Operation {
    for claim in world.bodies("hamlet-claims").await {
        let read: Claim = read(&claim.body);
        assert!(!read.instance.is_empty() && !read.operation.is_empty());
    }
    for record in world.bodies("hamlet-instances").await {
        let _: Record = read(&record.body);
    }
    let mut asked = None;
    for document in world.bodies("hamlet-operations").await {
        let read: Operation = read(&document.body);
        if document.id == operation_id(name) {
            asked = Some(read);
        }
    }
    asked.unwrap()
}

async fn record(world: &World, id: &str) -> Record {
    let records = world.bodies("hamlet-instances").await;
    read(&records.iter().find(|it| it.id == id).unwrap().body)
}

async fn ask_to_create(clients: &Clients, domain: &str) -> String {
    let request = CreateInstanceRequest {
        instance: Some(Instance {
            domain: domain.to_owned(),
            domain_aliases: vec![format!("www.{domain}")],
            old_domain: format!("old.{domain}"),
            email: "alice@example.org".to_owned(),
            disk_quota_bytes: 5_000_000,
            ..Instance::default()
        }),
        apps: vec!["home".to_owned()],
        passphrase: "correct horse battery staple".to_owned(),
        ..CreateInstanceRequest::default()
    };
    let accepted = clients.instances.clone().create_instance(request).await;
    accepted.unwrap().into_inner().name
}

async fn ask_to_change(clients: &Clients, domain: &str) -> String {
    let wanted = Instance {
        domain_aliases: vec![format!("new.{domain}")],
        locale: "fr".to_owned(),
        email: "bob@example.org".to_owned(),
        ..Instance::default()
    };
    let request = update_request(domain, &["domain_aliases", "locale", "email"], wanted);
    let accepted = clients.instances.clone().update_instance(request).await;
    accepted.unwrap().into_inner().name
}

fn at_work(operation: &Operation, step: usize) {
    assert_eq!(operation.phase, Phase::Running);
    assert_eq!(operation.step, step);
    assert_eq!(operation.attempt, 1);
    assert!(operation.open && operation.owner.is_some() && operation.next_try.is_some());
    let error = operation.error.as_ref().unwrap();
    assert_eq!((error.code, error.reason.as_str()), (14, "TRIED_AGAIN"));
    assert!(operation.ended_at.is_none() && operation.look_again.is_none());
}

#[test]
fn the_types_of_version_0_1_0_are_those_of_its_documents() {
    let documents = include_str!("../../../../tests/data/0.1.0/documents.json");
    let documents: Value = serde_json::from_str(documents).unwrap();
    let of = |database: &str| {
        let found = documents[database].as_array().unwrap().iter().cloned();
        found
            .map(|mut document| {
                let members = document.as_object_mut().unwrap();
                members.retain(|name, _| !name.starts_with('_'));
                document
            })
            .collect::<Vec<Value>>()
    };
    for document in of("hamlet-operations") {
        let _: Operation = read(&document);
    }
    for document in of("hamlet-instances") {
        let _: Record = read(&document);
    }
    for document in of("hamlet-claims") {
        let _: Claim = read(&document);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_creation_is_read_at_every_step() {
    for (number, &step) in CREATE_STEPS.iter().enumerate() {
        let world = World::new().await;
        let stuck = world.replica_with(stuck_at("stuck", step)).await;
        let name = ask_to_create(&stuck, "a.example").await;
        stuck.until(&name, waits).await;
        let found = operation(&world, &name).await;
        at_work(&found, number);
        let Work::Create { spec } = &found.work else {
            panic!("{found:?}");
        };
        assert_eq!(spec.domain, "a.example");
        assert_eq!(spec.domain_aliases, ["www.a.example"]);
        assert_eq!(spec.old_domain, "old.a.example");
        assert_eq!(spec.email, "alice@example.org");
        assert_eq!(spec.disk_quota_bytes, 5_000_000);
        assert_eq!(spec.apps, ["home"]);
        assert!(found.sealed.is_some(), "the passphrase waits in it");
        assert_eq!(found.irreversible, number >= 3, "{step}");
        // A name is claimed in the head start, or in the step.
        if number > 0 {
            let names = ["a.example", "redirect:old.a.example", "www.a.example"];
            assert_eq!(found.names, names, "{step}");
        }
        assert_eq!(found.databases.is_empty(), number < 2, "{step}");
        assert_eq!(found.apps.len(), usize::from(number > 2), "{step}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_creation_that_was_cancelled_is_read() {
    let world = World::new().await;
    let stuck = world.replica_with(stuck_at("stuck", "apps")).await;
    let name = ask_to_create(&stuck, "a.example").await;
    stuck.until(&name, waits).await;
    stuck.cancel(&name).await.unwrap();
    stuck.end_of(&name).await;
    let found = operation(&world, &name).await;
    assert_eq!(found.phase, Phase::Failed);
    let error = found.error.as_ref().unwrap();
    assert_eq!((error.code, error.reason.as_str()), (1, "CANCELLED"));
    assert!(found.cancel_requested && found.sealed.is_none() && found.ended_at.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_read_at_every_step() {
    for (number, &step) in CHANGE_STEPS.iter().enumerate() {
        let world = World::new().await;
        let free = world.replica("free", Failpoints::default()).await;
        let created = ask_to_create(&free, "a.example").await;
        assert_eq!(failure(&free.end_of(&created).await), None);
        free.stop().await;
        let stuck = world.replica_with(stuck_at("stuck", step)).await;
        let name = ask_to_change(&stuck, "a.example").await;
        stuck.until(&name, waits).await;
        let found = operation(&world, &name).await;
        at_work(&found, number);
        let Work::Change { change } = &found.work else {
            panic!("{found:?}");
        };
        let asked: Change = serde_json::from_value(json!({
            "kind": "update",
            "instance": {"domain_aliases": ["new.a.example"], "locale": "fr"},
            "settings": {"email": "bob@example.org"},
        }))
        .unwrap();
        assert_eq!(change.kind, asked.kind);
        assert_eq!(change.instance, asked.instance);
        assert_eq!(change.settings, asked.settings);
        assert_eq!(found.irreversible, number >= 2, "{step}");
        // The added and removed names are stored when the instance is taken.
        let settled = number > 0;
        let ids = |names: &[version_0_1_0::Wanted]| -> Vec<String> {
            names.iter().map(|name| name.id.clone()).collect()
        };
        let expected = |name: &str| settled.then(|| name.to_owned()).into_iter();
        assert!(ids(&change.added).into_iter().eq(expected("new.a.example")));
        assert!(
            ids(&change.removed)
                .into_iter()
                .eq(expected("www.a.example"))
        );
        assert_eq!(found.names, ids(&change.added));
        let taken = record(&world, &found.instance).await.operation;
        assert_eq!(taken.is_some(), settled, "{step}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destruction_is_read_at_every_step_and_at_its_end() {
    for (number, &step) in DESTROY_STEPS.iter().enumerate() {
        let world = World::new().await;
        let free = world.replica("free", Failpoints::default()).await;
        let created = ask_to_create(&free, "a.example").await;
        assert_eq!(failure(&free.end_of(&created).await), None);
        free.stop().await;
        let stuck = world.replica_with(stuck_at("stuck", step)).await;
        let name = stuck.ask_to_destroy("a.example").await.unwrap();
        stuck.until(&name, waits).await;
        let found = operation(&world, &name).await;
        at_work(&found, number);
        assert!(matches!(found.work, Work::Destroy { .. }));
        assert_eq!(found.irreversible, number >= 1, "{step}");
        assert_eq!(found.names.len(), if number > 0 { 3 } else { 0 }, "{step}");
        assert_eq!(found.removed.databases > 0, number > 2, "{step}");
        drop(stuck);
        let free = world.replica("free", Failpoints::default()).await;
        assert_eq!(failure(&free.end_of(&name).await), None);
        let found = operation(&world, &name).await;
        assert_eq!(found.phase, Phase::Succeeded);
        assert!(!found.open && found.error.is_none() && found.next_try.is_none());
        assert!(found.removed.claims > 0 && found.removed.documents > 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_soft_deletion_is_read_with_its_time() {
    let world = World::new().await;
    let replica = world.replica("one", Failpoints::default()).await;
    let created = ask_to_create(&replica, "a.example").await;
    assert_eq!(failure(&replica.end_of(&created).await), None);
    let created = operation(&world, &created).await;
    assert_eq!(created.phase, Phase::Succeeded);
    assert!(!created.open && created.sealed.is_none() && created.ended_at.is_some());
    let request = DeleteInstanceRequest {
        name: "instances/a.example".to_owned(),
        keep: Some(Duration::from_secs(86_400).try_into().unwrap()),
        ..DeleteInstanceRequest::default()
    };
    let accepted = replica.instances.clone().delete_instance(request).await;
    let name = accepted.unwrap().into_inner().name;
    assert_eq!(failure(&replica.end_of(&name).await), None);
    let found = operation(&world, &name).await;
    let record = record(&world, &found.instance).await;
    assert!(record.purge_at.is_some() && record.deleted_at.is_some());
    assert_eq!(found.look_again, record.purge_at);
    assert!(!found.open);
}
