//! A creation of one name claims it in parallel with the write that accepts it. So a claim may exist whose
//! operation was accepted elsewhere, or does not exist. No name is lost by that.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed expectation is the test failing"
)]

use std::time::Duration;

use crate::support::{World, failure};
use embedded_couchdb::faults::{Fault, Rule};
use instance_svc::operations::failpoints::Failpoints;
use serde_json::json;
use test_kit::eventually;
use tonic::Code;

/// A client that sends a request three times at once.
#[tokio::test(flavor = "multi_thread")]
async fn one_request_sent_to_three_replicas_creates_one_instance_with_its_names() {
    let world = World::new().await;
    let mut replicas = Vec::new();
    for name in ["one", "two", "three"] {
        replicas.push(world.replica(name, Failpoints::default()).await);
    }
    for round in 0..10 {
        let request_id = format!("r-{round}");
        let asks = replicas
            .iter()
            .map(|replica| replica.ask_to_create("a.example", &request_id));
        let accepted = futures::future::try_join_all(asks).await.unwrap();
        let replica = replicas.first().unwrap();
        for answer in &accepted {
            assert_eq!(answer.name, accepted.first().unwrap().name);
            assert_eq!(failure(&replica.end_of(&answer.name).await), None);
        }
        assert_eq!(world.ids("hamlet-claims").await, ["a.example"]);
        assert_eq!(failure(&replica.destroy("a.example").await.unwrap()), None);
        assert_eq!(world.leftovers().await, Vec::<String>::new());
    }
}

/// A replica that received the request later died before it released its claim.
#[tokio::test(flavor = "multi_thread")]
async fn a_claim_for_an_instance_that_was_never_created_is_removed() {
    let world = World::new().await;
    let replica = world.replica("one", Failpoints::default()).await;
    let accepted = replica.ask_to_create("other.example", "r").await.unwrap();
    assert_eq!(failure(&replica.end_of(&accepted.name).await), None);
    let operation = accepted.name.strip_prefix("operations/").unwrap();
    let twin = json!({
        "name": "a.example", "kind": "domain", "instance": "twin", "operation": operation,
        "created_at": "2026-01-01T00:00:00.000000Z",
    });
    world.put("hamlet-claims", "a.example", twin).await;
    assert_eq!(failure(&replica.create("a.example").await.unwrap()), None);
}

/// One of its names is taken, and the refusal takes a while: the other name stays available meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_creation_that_will_be_refused_does_not_block_its_other_name() {
    let world = World::new().await;
    if !world.is_embedded() {
        return;
    }
    let replica = world.replica("one", Failpoints::default()).await;
    assert_eq!(failure(&replica.create("z.example").await.unwrap()), None);
    let slow = Fault::Delay(Duration::from_secs(1));
    let look = Rule::once("POST", "hamlet-claims/_all_docs", slow);
    world.faults().add(look);
    let refused = replica.ask_to_create_with("a.example", &["z.example"], &[], "");
    let (refused, made) = tokio::join!(refused, async {
        eventually("the look is slow", async || world.faults().struck() > 0).await;
        // Everything that runs in parallel with the check has been written by now.
        tokio::time::sleep(Duration::from_millis(200)).await;
        replica.create("a.example").await
    });
    assert_eq!(failure(&made.unwrap()), None);
    assert_eq!(refused.unwrap_err().code(), Code::AlreadyExists);
    assert_eq!(world.ids("hamlet-claims").await, ["a.example", "z.example"]);
}

/// The claim was written, but the operation was not.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_released_when_its_operation_could_not_be_written() {
    let world = World::new().await;
    if !world.is_embedded() {
        return;
    }
    let replica = world.replica("one", Failpoints::default()).await;
    let unwritten = Rule::always("PUT", "hamlet-operations/", Fault::Fail);
    world.faults().add(unwritten);
    let refused = replica.ask_to_create("a.example", "").await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
    assert_eq!(world.leftovers().await, Vec::<String>::new());
    world.faults().clear();
    assert_eq!(failure(&replica.create("a.example").await.unwrap()), None);
    assert_eq!(failure(&replica.destroy("a.example").await.unwrap()), None);
    assert_eq!(world.leftovers().await, Vec::<String>::new());
}
