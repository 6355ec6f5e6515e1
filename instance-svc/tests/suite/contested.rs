//! A database that answers 202 on command, as a cluster does to the second of two racing writers: the written
//! leaf lies beside another one, and may win or lose. Claims, leases, records and publications are consistent
//! in the end, even if the writer dies right after such a write.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a failed expectation is the test failing"
)]

use std::time::Duration;

use crate::support::{World, failure, hasty};
use embedded_couchdb::faults::{Fault, Race, Rule, Side};
use instance_svc::{Settings, operations::failpoints::Failpoints};
use tonic::Code;

/// The databases with contested documents.
const RACED: [&str; 4] = [
    "hamlet-claims/",
    "hamlet-operations/",
    "hamlet-instances/",
    "global%2Finstances/",
];

fn contested(database: &str, which: u32, ours: Side, other: Option<&str>) -> Rule {
    let race = Race {
        ours,
        other: other.map(str::to_owned),
    };
    Rule::once("PUT", database, Fault::Race(race)).after(which)
}

async fn nothing_left(world: &World, why: &str) {
    assert_eq!(world.leftovers().await, Vec::<String>::new(), "{why}");
}

/// A creation and a destruction with one lost race, at each document in turn.
#[tokio::test(flavor = "multi_thread")]
async fn creation_and_destruction_survive_every_lost_race() {
    let world = World::new().await;
    if !world.is_embedded() {
        return;
    }
    let one = world.replica("one", Failpoints::default()).await;
    let two = world.replica("two", Failpoints::default()).await;
    for database in RACED {
        for side in [Side::Wins, Side::Loses] {
            for which in 0..2 {
                let why = format!("{database} {side:?} {which}");
                world.faults().clear();
                world.faults().add(contested(database, which, side, None));
                let accepted = one
                    .ask_to_create_with("a.example", &["b.example"], &[], "")
                    .await
                    .unwrap();
                assert_eq!(failure(&two.end_of(&accepted.name).await), None, "{why}");
                let destroyed = one.destroy("a.example").await.unwrap();
                assert_eq!(failure(&destroyed), None, "{why}");
                nothing_left(&world, &why).await;
            }
        }
    }
}

/// The competitor for a name is a running creation: our creation loses the race and leaves nothing behind.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_another_creation_wins_is_taken() {
    let world = World::new().await;
    if !world.is_embedded() {
        return;
    }
    let replica = world
        .replica_with(Settings {
            scan_every: Duration::from_secs(3600),
            ..hasty("one", Failpoints::default())
        })
        .await;
    replica.get("theirs.example").await.unwrap_err();
    // From now on it does not see what other software writes.
    world
        .faults()
        .add(Rule::always("POST", "%2Finstances/_changes", Fault::Fail));
    // An existing instance that has the name, too. The race shows its claim beside ours.
    assert_eq!(
        failure(&replica.create("theirs.example").await.unwrap()),
        None
    );
    let instances = couch::DbName::global("instances").unwrap();
    let instances = world.couch.database(&instances);
    let id = replica.get("theirs.example").await.unwrap().id;
    let found: Option<couch::Document<serde_json::Value>> = instances.get(&id).await.unwrap();
    let mut found = found.unwrap();
    found.body["domain_aliases"] = serde_json::json!(["ours.example"]);
    let written = instances
        .compare_and_set(&id, &found.rev, &found.body)
        .await;
    assert!(matches!(written, Ok(couch::Exchange::Won(_))));
    let claims = couch::DbName::global("hamlet-claims").unwrap();
    let theirs: Option<couch::Document<serde_json::Value>> = world
        .couch
        .database(&claims)
        .get("theirs.example")
        .await
        .unwrap();
    let theirs = theirs.unwrap().body.to_string();
    for side in [Side::Wins, Side::Loses] {
        world
            .faults()
            .add(contested("hamlet-claims/", 0, side, Some(&theirs)));
        // The name is read while it is claimed, so either request may report the conflict.
        let lost = match replica.create("ours.example").await {
            Ok(ended) => failure(&ended).expect("the name is another's").to_owned(),
            Err(refused) => refused.message().to_owned(),
        };
        assert!(lost.contains("is taken"), "{side:?}: {lost}");
        // The other creation's documents remain; none of ours do.
        assert_eq!(world.ids("hamlet-claims").await.len(), 2, "{side:?}");
        let databases = world.couch.databases_with_prefix("cozy").await.unwrap();
        assert_eq!(databases.len(), 16, "{side:?}");
        let leaves = world.couch.database(&claims).leaves("ours.example").await;
        let alive: Vec<_> = leaves
            .unwrap()
            .into_iter()
            .filter(|leaf| !leaf.deleted)
            .collect();
        assert_eq!(alive.len(), 1, "{side:?}: {alive:?}");
        let rev = alive.first().unwrap().rev.clone();
        let given_back = world
            .couch
            .database(&claims)
            .compare_and_delete("ours.example", &rev)
            .await;
        assert!(matches!(given_back, Ok(couch::Exchange::Won(_))));
    }
}

/// The competitor has died: another operation that meets its claim removes it after the grace period.
#[tokio::test(flavor = "multi_thread")]
async fn an_abandoned_claim_is_removed() {
    let world = World::new().await;
    if !world.is_embedded() {
        return;
    }
    let replica = world.replica("one", Failpoints::default()).await;
    let dead = serde_json::json!({
        "name": "a.example", "kind": "domain", "instance": "nobody", "operation": "gone",
        "created_at": "2026-01-01T00:00:00.000000Z",
    });
    for side in [Side::Wins, Side::Loses] {
        let dead = dead.to_string();
        world
            .faults()
            .add(contested("hamlet-claims/", 0, side, Some(&dead)));
        assert_eq!(
            failure(&replica.create("a.example").await.unwrap()),
            None,
            "{side:?}"
        );
        assert_eq!(failure(&replica.destroy("a.example").await.unwrap()), None);
        nothing_left(&world, &format!("{side:?}")).await;
    }
}

/// The writer dies right after the race, at each document in turn: another replica finishes the operation.
#[tokio::test(flavor = "multi_thread")]
async fn another_replica_finishes_when_the_writer_dies_after_a_lost_race() {
    let world = World::new().await;
    if !world.is_embedded() {
        return;
    }
    let healthy = world.replica("healthy", Failpoints::default()).await;
    let call = Duration::from_secs(5);
    for (number, database) in RACED.into_iter().enumerate() {
        for side in [Side::Wins, Side::Loses] {
            let why = format!("{database} {side:?}");
            let settings: Settings =
                hasty(&format!("mortal-{number}-{side:?}"), Failpoints::default());
            let mortal = world.process(settings, call).await;
            let struck = world.faults().struck();
            world.faults().clear();
            // The first write of an operation accepts it, and the caller waits for that: the race is at the second.
            let which = u32::from(database == "hamlet-operations/");
            world.faults().add(contested(database, which, side, None));
            let accepted = mortal.ask_to_create("a.example", "").await.unwrap();
            while world.faults().struck() == struck {
                tokio::task::yield_now().await;
            }
            mortal.kill().await;
            let ended = healthy.end_of(&accepted.name).await;
            assert_eq!(failure(&ended), None, "{why}");
            match healthy.destroy("a.example").await {
                Ok(destroyed) => assert_eq!(failure(&destroyed), None, "{why}"),
                Err(refused) => assert_eq!(refused.code(), Code::NotFound, "{why}"),
            }
            nothing_left(&world, &why).await;
        }
    }
}
