//! Orphans are found and removed. Data of an instance, of a running operation or of other software never is.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed expectation is the test failing"
)]

use crate::support::{
    Replica, World, failure,
    steps::{step, steps},
};
use couch::{DbName, DocId};
use hamlet_proto::{
    google::longrunning::{Operation, operation::Result as Outcome},
    hamlet::instance::v1::{
        ListOrphansRequest, Orphan, PurgeOrphansRequest, PurgeOrphansResult, RemovedCount,
    },
    unpack,
};
use instance_svc::operations::failpoints::{Failpoints, Order, Point};
use serde_json::json;
use test_kit::eventually;

/// Orphans: two databases, contents, a claim and a record.
struct Mess {
    prefix: String,
    instance: String,
    host: String,
}

impl Mess {
    async fn make(world: &World) -> Self {
        let mess = Self {
            prefix: format!("cozy{}", DocId::ascending()),
            instance: DocId::ascending().into_string(),
            host: format!("nobody-{}.example", DocId::ascending()),
        };
        for doctype in ["io.cozy.files", "io.cozy.something.of.others"] {
            let name = DbName::instance(&mess.prefix, doctype).unwrap();
            world.couch.create_database(&name).await.unwrap();
            let written = world.couch.database(&name).put("a", None, &json!({})).await;
            assert!(written.unwrap().committed().is_some());
        }
        let contents = (mess.prefix.clone(), 3);
        world.contents.lock().unwrap().extend([contents]);
        let claim = json!({
            "name": mess.host, "kind": "domain", "instance": mess.instance,
            "operation": DocId::ascending().into_string(), "created_at": "2026-01-01T00:00:00Z",
        });
        world.put("hamlet-claims", &mess.host, claim).await;
        let record = json!({
            "domain": mess.host, "prefix": mess.prefix, "locale": "en",
            "created_at": "2026-01-01T00:00:00Z", "created_by": DocId::ascending().into_string(),
        });
        world.put("hamlet-instances", &mess.instance, record).await;
        mess
    }

    fn found(&self) -> Vec<(String, i64)> {
        let mut found = vec![
            (format!("{}/io-cozy-files", self.prefix), 1),
            (format!("{}/io-cozy-something-of-others", self.prefix), 1),
            (self.prefix.clone(), 3),
            (self.host.clone(), 1),
            (format!("global/hamlet-instances/{}", self.instance), 1),
        ];
        found.sort();
        found
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_without_any_database_is_an_orphan() {
    let world = World::new().await;
    let replica = world.replica("one", Failpoints::default()).await;
    for domain in ["a.example", "whole.example"] {
        assert_eq!(failure(&replica.create(domain).await.unwrap()), None);
    }
    let id = replica.get("a.example").await.unwrap().id;
    let prefix = replica.get("a.example").await.unwrap().prefix;
    let below = format!("{prefix}/");
    for name in world.couch.databases_with_prefix(&below).await.unwrap() {
        let name = DbName::new(name).unwrap();
        assert_eq!(
            world.couch.delete_database(&name).await.unwrap(),
            couch::Removal::Deleted
        );
    }
    world.contents.lock().unwrap().remove(&prefix);
    assert_eq!(
        names(&replica).await,
        [(format!("global/instances/{id}"), 1)]
    );
    let purged = ask_to_purge(&replica, false).await;
    let purged = replica.end_of(&purged.name).await;
    assert_eq!(removed(&purged), [0, 0, 2, 1]);
    assert_eq!(names(&replica).await, []);
    assert_eq!(failure(&replica.create("a.example").await.unwrap()), None);
    replica.get("whole.example").await.unwrap();
}

async fn orphans(replica: &Replica) -> Vec<Orphan> {
    let mut instances = replica.instances.clone();
    let answer = instances.list_orphans(ListOrphansRequest {}).await;
    let mut answer = answer.unwrap().into_inner();
    let mut found = Vec::new();
    while let Some(orphan) = answer.message().await.unwrap() {
        found.push(orphan);
    }
    found
}

async fn names(replica: &Replica) -> Vec<(String, i64)> {
    let found = orphans(replica).await.into_iter();
    let mut names: Vec<_> = found.map(|it| (it.name, it.count)).collect();
    names.sort();
    names
}

async fn ask_to_purge(replica: &Replica, validate_only: bool) -> Operation {
    let request = PurgeOrphansRequest {
        validate_only,
        ..PurgeOrphansRequest::default()
    };
    let mut instances = replica.instances.clone();
    instances.purge_orphans(request).await.unwrap().into_inner()
}

/// The counts of what was removed: databases, objects, documents, claims.
fn removed(operation: &Operation) -> [i64; 4] {
    let Some(Outcome::Response(response)) = &operation.result else {
        panic!("{operation:#?}");
    };
    let result: PurgeOrphansResult = unpack(response).unwrap().unwrap();
    let of = |kind: &str| {
        let is_it = |it: &&RemovedCount| it.kind == kind;
        result.removed.iter().find(is_it).unwrap().count
    };
    [
        of("databases"),
        of("objects"),
        of("documents"),
        of("claims"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn orphans_are_found_counted_and_removed() {
    let world = World::new().await;
    let replica = world.replica("one", Failpoints::default()).await;
    assert_eq!(
        failure(&replica.create("alice.example").await.unwrap()),
        None
    );
    assert_eq!(names(&replica).await, [], "an instance is no orphan");
    let alice = world.couch.databases_with_prefix("cozy").await.unwrap();

    // Data of other software: a wiki, and an instance from before prefixes.
    let foreign = [
        "wiki",
        "wiki/pages",
        "cozyless",
        "cozy-old-example/io-cozy-files",
    ];
    for name in foreign {
        let name = DbName::new(name).unwrap();
        world.couch.create_database(&name).await.unwrap();
    }
    let old = json!({"domain": "cozy.old.example", "locale": "en", "password_defined": true});
    let old_id = DocId::ascending().into_string();
    world.put("instances", &old_id, old).await;
    let of_the_old = ("cozy-old-example".to_owned(), 2);
    world.contents.lock().unwrap().extend([of_the_old]);

    let mess = Mess::make(&world).await;
    assert_eq!(names(&replica).await, mess.found());
    for orphan in orphans(&replica).await {
        assert!(!orphan.reason.is_empty() && orphan.kind != 0, "{orphan:?}");
    }
    let dry = ask_to_purge(&replica, true).await;
    assert!(dry.done);
    assert_eq!(removed(&dry), [2, 3, 1, 1], "counted");
    assert_eq!(names(&replica).await, mess.found(), "and not removed");

    let purge = ask_to_purge(&replica, false).await;
    let purge = replica.end_of(&purge.name).await;
    assert_eq!(removed(&purge), [2, 3, 1, 1]);
    assert_eq!(names(&replica).await, []);

    let mut left = world.couch.databases_with_prefix("").await.unwrap();
    left.retain(|name| !name.starts_with("global/") && !name.starts_with('_'));
    let mut expected = alice;
    expected.extend(foreign.map(str::to_owned));
    expected.sort();
    left.sort();
    assert_eq!(left, expected, "others' databases are left alone");
    let kept = world.contents.lock().unwrap().clone();
    assert_eq!(
        kept.into_iter().collect::<Vec<_>>(),
        [("cozy-old-example".to_owned(), 2)]
    );
    assert_eq!(
        failure(&replica.destroy("alice.example").await.unwrap()),
        None
    );
    replica.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn data_of_a_running_creation_is_no_orphan() {
    let world = World::new().await;
    let after = |name| Point {
        step: step("create", name),
        undo: false,
        after: true,
    };
    for (number, step) in ["claims", "databases", "look"].into_iter().enumerate() {
        let point = after(step);
        let stuck = Failpoints::new(move |_, at| match at == point {
            true => Order::Die,
            false => Order::Go,
        });
        let dying = world.replica(&format!("dying-{number}"), stuck).await;
        let domain = format!("slow-{number}.example");
        let accepted = dying.ask_to_create(&domain, "").await.unwrap();
        // The creation has gone as far as it can once something is visible.
        eventually("the creation has begun", async || {
            !world.leftovers().await.is_empty()
        })
        .await;
        assert_eq!(names(&dying).await, [], "{step:?}");
        let purge = ask_to_purge(&dying, false).await;
        assert_eq!(
            removed(&dying.end_of(&purge.name).await),
            [0; 4],
            "{step:?}"
        );
        dying.stop().await;

        let healthy = world.replica("healthy", Failpoints::default()).await;
        let created = healthy.end_of(&accepted.name).await;
        assert_eq!(failure(&created), None, "{step:?}");
        assert_eq!(failure(&healthy.destroy(&domain).await.unwrap()), None);
        assert_eq!(world.leftovers().await, Vec::<String>::new());
        healthy.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn removing_orphans_survives_every_fault_of_every_step() {
    let world = World::new().await;
    let healthy = world.replica("healthy", Failpoints::default()).await;
    let orders = [
        (Order::Twice, false),
        (Order::Fail, false),
        (Order::Fail, true),
        (Order::Die, false),
        (Order::Die, true),
    ];
    for (number, step) in steps("purge_orphans").into_iter().enumerate() {
        for (order, after) in orders {
            let point = Point {
                step,
                undo: false,
                after,
            };
            let once = std::sync::atomic::AtomicBool::new(true);
            let failpoints = Failpoints::new(move |_, at| {
                let first = at == point && once.swap(false, std::sync::atomic::Ordering::SeqCst);
                if first { order } else { Order::Go }
            });
            let name = format!("faulty-{number}-{order:?}-{after}");
            let faulty = world.replica(&name, failpoints).await;
            Mess::make(&world).await;
            let purge = ask_to_purge(&faulty, false).await;
            let purge = healthy.end_of(&purge.name).await;
            assert_eq!(failure(&purge), None, "{point:?} {order:?}");
            faulty.stop().await;
            assert_eq!(names(&healthy).await, [], "{point:?} {order:?}");
            assert_eq!(world.leftovers().await, Vec::<String>::new());
        }
    }
    healthy.stop().await;
}
