//! Documents that a node of the database brings back after they were removed: nobody adopts, drives, shows or obeys
//! them, and they are removed again.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed expectation is the test failing"
)]

use std::time::Duration;

use couch::DbName;
use hamlet_proto::{
    google::longrunning::{
        DeleteOperationRequest, ListOperationsRequest, operation::Result as Outcome,
    },
    hamlet::instance::v1::{
        CountInstancesRequest, DeleteInstanceResult, Instance, ListInstancesRequest,
    },
    unpack,
};
use instance_svc::{Settings, operations::failpoints::Failpoints};
use serde_json::{Map, Value, json};
use test_kit::{
    cluster::{Death, Moment},
    eventually,
};
use tonic::Code;

use crate::support::{Replica, World, failure, hasty, operation_id};

/// The documents of an instance in the global databases, each as `(database, id, body)`.
async fn everything_of(world: &World, domain: &str) -> Vec<(&'static str, String, Value)> {
    let mut found = Vec::new();
    for name in ["instances", "hamlet-instances", "hamlet-claims"] {
        for document in world.bodies(name).await {
            let is_of_domain = document.body["domain"] == domain || document.id == domain;
            if is_of_domain {
                found.push((name, document.id, document.body));
            }
        }
    }
    assert_eq!(found.len(), 3, "{found:?}");
    found
}

/// What a node holds that died after it took a write that no other node has: the same document with other content.
fn another(mut body: Value) -> Value {
    body["of_a_node_that_was_away"] = json!(true);
    body
}

/// The live leaves of a document.
async fn alive(world: &World, name: &str, id: &str) -> usize {
    let database = world.couch.database(&DbName::global(name).unwrap());
    let leaves = database.leaves(id).await.unwrap();
    leaves.iter().filter(|leaf| !leaf.deleted).count()
}

async fn list(replica: &Replica) -> Vec<Instance> {
    let mut instances = replica.instances.clone();
    let answer = instances
        .list_instances(ListInstancesRequest::default())
        .await;
    answer.unwrap().into_inner().instances
}

/// A replica that looks for nothing by itself.
fn blind(name: &str) -> Settings {
    Settings {
        scan_every: Duration::from_secs(3600),
        ..hasty(name, Failpoints::default())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_comes_back_is_removed_again() {
    let world = World::new().await;
    let replica = world.replica("one", Failpoints::default()).await;
    assert_eq!(failure(&replica.create("a.example").await.unwrap()), None);
    let documents = everything_of(&world, "a.example").await;
    assert_eq!(failure(&replica.destroy("a.example").await.unwrap()), None);
    for (database, id, body) in &documents {
        world.bring_back(database, id, another(body.clone())).await;
    }
    eventually("nothing is left", async || {
        match world.leftovers().await.as_slice() {
            [] => Ok(()),
            left => Err(left.to_vec()),
        }
    })
    .await;
    for (database, id, _) in &documents {
        assert_eq!(alive(&world, database, id).await, 0, "{database}/{id}");
    }
    assert_eq!(failure(&replica.create("a.example").await.unwrap()), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_comes_back_is_not_shown_before_anybody_looks_for_it() {
    let world = World::new().await;
    let replica = world.replica_with(blind("one")).await;
    assert_eq!(failure(&replica.create("a.example").await.unwrap()), None);
    let documents = everything_of(&world, "a.example").await;
    assert_eq!(failure(&replica.destroy("a.example").await.unwrap()), None);
    for (database, id, body) in &documents {
        world.bring_back(database, id, another(body.clone())).await;
    }
    let refused = replica.resolve("a.example").await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
    let refused = replica.get("a.example").await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
    assert_eq!(list(&replica).await, []);
    // Its name is free, too.
    assert_eq!(failure(&replica.create("a.example").await.unwrap()), None);
    let (_, id, _) = documents.first().unwrap();
    assert_ne!(replica.get("a.example").await.unwrap().id, *id);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_without_its_record_is_not_adopted() {
    let world = World::new().await;
    let replica = world.replica("one", Failpoints::default()).await;
    assert_eq!(failure(&replica.create("a.example").await.unwrap()), None);
    let documents = everything_of(&world, "a.example").await;
    assert_eq!(failure(&replica.destroy("a.example").await.unwrap()), None);
    let (database, id, body) = documents.first().unwrap();
    world.bring_back(database, id, another(body.clone())).await;
    let second = world.replica("two", Failpoints::default()).await;
    eventually("it is removed", async || {
        match alive(&world, database, id).await {
            0 => Ok(()),
            left => Err(left),
        }
    })
    .await;
    assert_eq!(
        second.get("a.example").await.unwrap_err().code(),
        Code::NotFound
    );
    assert_eq!(world.leftovers().await, Vec::<String>::new());
}

/// A document without any database is no instance: another program has not made them yet, or it came back without a
/// mark, because version 0.1.0 destroyed it.
#[tokio::test(flavor = "multi_thread")]
async fn a_document_without_a_database_is_no_instance() {
    let world = World::new().await;
    let replica = world.replica("one", Failpoints::default()).await;
    let document = json!({"domain": "bare.example", "prefix": "cozybare", "locale": "fr"});
    replica.get("bare.example").await.unwrap_err();
    world.put("instances", "1", document).await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(
        replica.get("bare.example").await.unwrap_err().code(),
        Code::NotFound
    );
    assert_eq!(world.ids("hamlet-claims").await, Vec::<String>::new());
    assert_eq!(world.ids("hamlet-instances").await, Vec::<String>::new());
    let counted = replica
        .instances
        .clone()
        .count_instances(CountInstancesRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert_eq!((counted.count, counted.without_database_count), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_comes_back_does_not_hide_the_valid_one() {
    let world = World::new().await;
    for settings in [blind("one"), hasty("two", Failpoints::default())] {
        let is_blind = settings.scan_every > Duration::from_secs(1);
        let replica = world.replica_with(settings).await;
        assert_eq!(failure(&replica.create("a.example").await.unwrap()), None);
        let documents = everything_of(&world, "a.example").await;
        let (database, id, body) = documents.last().unwrap();
        assert_eq!(failure(&replica.destroy("a.example").await.unwrap()), None);
        assert_eq!(failure(&replica.create("a.example").await.unwrap()), None);
        let ours = replica.get("a.example").await.unwrap();
        // The highest generation wins.
        world
            .bring_back_at(database, id, 99, another(body.clone()))
            .await;
        assert_eq!(replica.get("a.example").await.unwrap(), ours);
        let resolved = replica.resolve("a.example").await.unwrap();
        assert_eq!(resolved.tenant.unwrap().id, ours.id);
        if !is_blind {
            eventually("one claim is left", async || {
                match alive(&world, database, id).await {
                    1 => Ok(()),
                    left => Err(left),
                }
            })
            .await;
        }
        assert_eq!(replica.get("a.example").await.unwrap(), ours);
        assert_eq!(failure(&replica.destroy("a.example").await.unwrap()), None);
        assert_eq!(failure(&replica.create("a.example").await.unwrap()), None);
        assert_eq!(failure(&replica.destroy("a.example").await.unwrap()), None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operation_that_was_forgotten_and_comes_back_is_not_driven() {
    let world = World::new().await;
    let replica = world.replica("one", Failpoints::default()).await;
    let created = replica.create("a.example").await.unwrap();
    let id = operation_id(&created.name).to_owned();
    let operations = world
        .couch
        .database(&DbName::global("hamlet-operations").unwrap());
    let ended: couch::Document<Map<String, Value>> = operations.get(&id).await.unwrap().unwrap();
    assert_eq!(failure(&replica.destroy("a.example").await.unwrap()), None);
    let request = DeleteOperationRequest {
        name: created.name.clone(),
    };
    replica
        .operations
        .clone()
        .delete_operation(request)
        .await
        .unwrap();
    // As it was while it waited for a turn, and while its owner made databases.
    for phase in ["queued", "running"] {
        let mut body = ended.body.clone();
        body.extend([
            ("phase".to_owned(), json!(phase)),
            ("open".to_owned(), json!(true)),
            ("step".to_owned(), json!(0)),
        ]);
        world
            .bring_back("hamlet-operations", &id, another(body.into()))
            .await;
        eventually("it is removed", async || {
            match alive(&world, "hamlet-operations", &id).await {
                0 => Ok(()),
                left => Err(left),
            }
        })
        .await;
        assert_eq!(world.leftovers().await, Vec::<String>::new());
    }
    let listed = replica
        .operations
        .clone()
        .list_operations(ListOperationsRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert!(listed.operations.iter().all(|it| it.name != created.name));
}

/// What happened in a cluster of containers: the first node took the document of an instance and died before another
/// node had it. Another replica published the instance through the second node, and destroyed it. Then the first node
/// came back.
#[tokio::test(flavor = "multi_thread")]
async fn an_instance_published_on_a_dead_node_alone_stays_destroyed() {
    let world = World::of_three_nodes(1).await;
    let cluster = world.cluster().unwrap();
    let first = world.replica("one", Failpoints::default()).await;
    let second = world.replica("two", Failpoints::default()).await;
    // Both have written what they need at the start, so that the node dies by the document of an instance.
    for replica in [&first, &second] {
        replica.get("nobody.example").await.unwrap_err();
    }
    for round in 0..3 {
        let domain = format!("storm-{round}.example");
        cluster.schedule(Death::of_coordinator(0, Moment::AfterCommit).on("global%2Finstances/"));
        let accepted = first.ask_to_create(&domain, "").await.unwrap();
        eventually("the node dies", async || !cluster.is_live(0)).await;
        assert_eq!(failure(&second.end_of(&accepted.name).await), None);
        let destroyed = second.destroy(&domain).await.unwrap();
        assert_eq!(failure(&destroyed), None);
        cluster.start_node(0).await;
        cluster.sync_all().await;
        // Longer than an adoption takes.
        tokio::time::sleep(Duration::from_secs(3)).await;
        cluster.sync_all().await;
        assert_eq!(
            second.get(&domain).await.unwrap_err().code(),
            Code::NotFound
        );
        assert_eq!(world.leftovers().await, Vec::<String>::new());
        if round == 0 {
            eventually("the destruction has looked once more", async || {
                let ended = second.end_of(&destroyed.name).await;
                let Some(Outcome::Response(response)) = &ended.result else {
                    panic!("{ended:#?}");
                };
                let result: DeleteInstanceResult = unpack(response).unwrap().unwrap();
                result.last_look_time
            })
            .await;
        }
    }
}
