//! What a destruction reports before and after, and that it removes everything.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed expectation is the test failing"
)]

use std::collections::BTreeMap;

use crate::support::{Contents, Replica, World, failure, steps::step};
use hamlet_proto::{
    google::longrunning::{Operation, operation::Result as Outcome},
    hamlet::instance::v1::{DeleteInstanceRequest, DeleteInstanceResult, instance::State},
    unpack,
};
use instance_svc::operations::failpoints::{Failpoints, Order, Point};
use test_kit::eventually;
use tonic::Status;

/// The prefix of the only instance.
async fn prefix(world: &World) -> String {
    let names = world.couch.databases_with_prefix("cozy").await.unwrap();
    let (prefix, _) = names.first().unwrap().split_once('/').unwrap();
    prefix.to_owned()
}

fn put(contents: &Contents, prefix: &str, objects: i64) {
    contents.lock().unwrap().insert(prefix.to_owned(), objects);
}

async fn dry_run(replica: &Replica, domain: &str) -> Operation {
    let mut instances = replica.instances.clone();
    let request = DeleteInstanceRequest {
        name: format!("instances/{domain}"),
        validate_only: true,
        ..DeleteInstanceRequest::default()
    };
    let answer = instances.delete_instance(request).await;
    answer.unwrap().into_inner()
}

fn result(operation: &Operation) -> DeleteInstanceResult {
    match &operation.result {
        Some(Outcome::Response(response)) => unpack(response).unwrap().unwrap(),
        other => panic!("{other:?}"),
    }
}

fn counts(result: &DeleteInstanceResult) -> BTreeMap<&str, i64> {
    let removed = result.removed.iter();
    removed.map(|it| (it.kind.as_str(), it.count)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_counts_what_a_destruction_then_removes() {
    let world = World::new().await;
    let replica = world.replica("one", Failpoints::default()).await;
    assert_eq!(
        failure(&replica.create("alice.example").await.unwrap()),
        None
    );
    let prefix = prefix(&world).await;
    put(&world.contents, &prefix, 5);
    put(&world.contents, "cozyneighbour", 7);
    let databases = world.couch.databases_with_prefix(&prefix).await.unwrap();

    let dry = result(&dry_run(&replica, "alice.example").await);
    let expected = [
        ("claims", 1),
        ("databases", i64::try_from(databases.len()).unwrap()),
        ("documents", 2),
        ("objects", 5),
    ];
    assert_eq!(counts(&dry), BTreeMap::from(expected));
    assert_eq!(dry.domain, "alice.example");
    let now = world.couch.databases_with_prefix(&prefix).await.unwrap();
    assert_eq!(now, databases, "nothing has gone");

    let destroyed = result(&replica.destroy("alice.example").await.unwrap());
    assert_eq!(counts(&destroyed), BTreeMap::from(expected));
    assert_eq!(destroyed.leftovers, Vec::<String>::new());
    assert_eq!(world.leftovers().await, ["contents: cozyneighbour"]);
    let neighbour = BTreeMap::from([("cozyneighbour".to_owned(), 7)]);
    assert_eq!(*world.contents.lock().unwrap(), neighbour);
    replica.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn contents_written_during_a_destruction_are_found_by_its_last_check() {
    let world = World::new().await;
    for (number, step) in [step("destroy", "bytes"), step("destroy", "claims")]
        .into_iter()
        .enumerate()
    {
        let point = Point {
            step,
            undo: false,
            after: true,
        };
        let domain = format!("haunted-{number}.example");
        let healthy = world.replica("healthy", Failpoints::default()).await;
        assert_eq!(failure(&healthy.create(&domain).await.unwrap()), None);
        healthy.stop().await;
        let prefix = prefix(&world).await;
        let (contents, haunted) = (world.contents.clone(), prefix.clone());
        let once = std::sync::atomic::AtomicBool::new(true);
        // A slow writer writes contents after they were removed.
        let slow_writer = Failpoints::new(move |_, at| {
            if at == point && once.swap(false, std::sync::atomic::Ordering::SeqCst) {
                put(&contents, &haunted, 1);
            }
            Order::Go
        });
        let replica = world.replica("haunted", slow_writer).await;
        let destroyed = result(&replica.destroy(&domain).await.unwrap());
        assert_eq!(counts(&destroyed).get("objects"), Some(&1), "{step:?}");
        assert_eq!(destroyed.leftovers, Vec::<String>::new());
        assert!(world.contents.lock().unwrap().is_empty(), "{step:?}");
        assert_eq!(world.leftovers().await, Vec::<String>::new());
        replica.stop().await;
    }
}

/// The owner of a creation dies between the publication and the end. The replica that resumes it finds part of
/// the instance missing, because a destruction removes it meanwhile, and must not make it again.
#[tokio::test(flavor = "multi_thread")]
async fn an_instance_destroyed_before_its_creation_ends_stays_destroyed() {
    let world = World::new().await;
    let healthy = world.replica("healthy", Failpoints::default()).await;
    let failpoints = Failpoints::new(|_, at| {
        if at.step == step("create", "publish") && at.after {
            Order::Die
        } else {
            Order::Go
        }
    });
    let faulty = world.replica("faulty", failpoints).await;
    let created = faulty.ask_to_create("a.example", "").await.unwrap();
    eventually("the instance is published", async || {
        let shown = healthy.get("a.example").await?;
        match shown.state() {
            State::Creating => Err(Status::not_found("it is being created")),
            _ => Ok(shown),
        }
    })
    .await;
    let destroyed = healthy.destroy("a.example").await.unwrap();
    assert_eq!(failure(&destroyed), None);
    assert_eq!(failure(&healthy.end_of(&created.name).await), None);
    assert_eq!(world.leftovers().await, Vec::<String>::new());
}
