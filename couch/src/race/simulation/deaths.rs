//! Documents whose nodes die in the middle of a write and return later.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;

use super::super::{
    ClaimOutcome, DocumentStore, Exchange, claim, compare_and_set, release, remove_for_good,
    remove_returned,
};
use super::{Cluster, SimulatedFaults, context, for_seeds};
use crate::document::Leaf;

/// How the document of a life is deleted at its end.
#[derive(Clone, Copy, PartialEq)]
enum End {
    ForGood,
    Plain,
}

/// One document's life while nodes die: it is made, changed and deleted. A writer whose request got no response may
/// give up; another one goes on, with other content. Returns the leaves once all nodes are back.
async fn live_and_die(seed: u64, end: End) -> (Cluster, Vec<Leaf>) {
    let faults = SimulatedFaults {
        death_percent: 30,
        ..SimulatedFaults::default()
    };
    let cluster = Cluster::new(seed, faults);
    let replication = cluster.replicate();
    // One attempt of a writer that gives up then: what it wrote may be on a node that is away.
    for writer in 0..cluster.pick(3) {
        let _outcome = cluster.put(None, &json!({ "writer": writer })).await;
    }
    // A node hangs with the write of a writer that gives up, and goes on later, perhaps after the end of the document.
    if cluster.pick(3) == 0 {
        let (hung, after) = (cluster.clone(), cluster.random.millis(10, 4000));
        tokio::spawn(async move {
            sleep(after).await;
            hung.coordinate(None, false, json!({ "writer": "late" }))
                .await;
        });
    }
    let context = context(&cluster.random);
    let made = claim(&cluster, &context, &json!({ "writer": 7 }), |_| Ok(false))
        .await
        .unwrap();
    if let ClaimOutcome::Won(rev) = made {
        let changed = json!({ "writer": 7, "changed": true });
        let _outcome = compare_and_set(&cluster, &context, &rev, &changed).await;
    }
    match end {
        End::ForGood => {
            remove_for_good(&cluster, &context).await.unwrap();
        }
        End::Plain => {
            release(&cluster, &context, |_| Ok(true)).await.unwrap();
        }
    }
    sleep(Duration::from_secs(10)).await;
    let leaves = cluster.replicated_leaves();
    replication.abort();
    (cluster, leaves)
}

#[test]
fn a_leaf_that_returns_after_a_removal_is_known_and_removed_again() {
    let returned = Arc::new(Mutex::new(0));
    for_seeds(6000..7000, |seed| {
        let returned = Arc::clone(&returned);
        async move {
            let (cluster, leaves) = live_and_die(seed, End::ForGood).await;
            assert!(
                leaves.iter().any(Leaf::is_removal),
                "seed {seed}: {leaves:?}"
            );
            if leaves.iter().all(|leaf| leaf.deleted) {
                return;
            }
            *returned.lock().unwrap() += 1;
            let calm = Cluster {
                faults: SimulatedFaults::default(),
                ..cluster
            };
            let removed = remove_returned(&calm).await.unwrap();
            assert!(removed.is_some_and(|count| count > 0), "seed {seed}");
            let after = calm.replicated_leaves();
            assert!(
                after.iter().all(|leaf| leaf.deleted),
                "seed {seed}: {after:?}"
            );
        }
    });
    assert!(*returned.lock().unwrap() > 20, "hardly a leaf returned");
}

#[test]
fn without_the_mark_nobody_can_know_a_leaf_that_returned() {
    let unknown = Arc::new(Mutex::new(0));
    for_seeds(6000..7000, |seed| {
        let unknown = Arc::clone(&unknown);
        async move {
            let (cluster, leaves) = live_and_die(seed, End::Plain).await;
            let alive = leaves.iter().any(|leaf| !leaf.deleted);
            if alive
                && remove_returned(&cluster)
                    .await
                    .is_ok_and(|found| found.is_none())
            {
                *unknown.lock().unwrap() += 1;
            }
        }
    });
    assert!(*unknown.lock().unwrap() > 20, "the model lost its teeth");
}

/// Writers race while nodes die, some of the writers with them. A writer that starts again is another process, so its
/// body differs. Returns the owner, if the race had one, once all nodes are back.
async fn race_while_nodes_die(cluster: &Cluster, seed: u64) -> Option<u64> {
    let mut running = Vec::new();
    for owner in 0..1 + seed % 3 {
        let cluster = cluster.clone();
        let start = cluster.random.millis(0, 8);
        let lifetime = cluster.random.millis(1, 150);
        running.push(tokio::spawn(async move {
            sleep(start).await;
            let context = context(&cluster.random);
            let mine = |leaf: &Leaf| Ok(leaf.body["owner"] == json!(owner));
            if owner % 2 == 1 {
                let first = json!({ "owner": owner, "process": 1 });
                let doomed = claim(&cluster, &context, &first, mine);
                if let Ok(done) = tokio::time::timeout(lifetime, doomed).await {
                    return done;
                }
            }
            let body = json!({ "owner": owner, "process": 2 });
            claim(&cluster, &context, &body, mine).await
        }));
    }
    let mut owners = Vec::new();
    for (owner, task) in (0..).zip(running) {
        if let Ok(ClaimOutcome::Won(_)) = task.await.unwrap() {
            owners.push(owner);
        }
    }
    sleep(Duration::from_secs(10)).await;
    assert!(owners.len() <= 1, "seed {seed}: {owners:?}");
    owners.pop()
}

#[test]
fn a_claim_that_was_won_is_alive_when_all_nodes_are_back() {
    let owned = Arc::new(Mutex::new(0));
    for_seeds(8000..12000, |seed| {
        let owned = Arc::clone(&owned);
        async move {
            let faults = SimulatedFaults {
                death_percent: 10 + seed % 4 * 10,
                ..SimulatedFaults::default()
            };
            let cluster = Cluster::new(seed, faults);
            let replication = cluster.replicate();
            if let Some(owner) = race_while_nodes_die(&cluster, seed).await {
                let leaves = cluster.replicated_leaves();
                let held = leaves
                    .iter()
                    .any(|leaf| !leaf.deleted && leaf.body["owner"] == json!(owner));
                assert!(held, "seed {seed}: the owner's leaf is gone: {leaves:?}");
                *owned.lock().unwrap() += 1;
            }
            replication.abort();
        }
    });
    let owned = *owned.lock().unwrap();
    assert!(owned > 3500, "only {owned} of 4000 races had an owner");
}

#[test]
fn an_exchange_that_was_won_is_alive_when_all_nodes_are_back() {
    let won = Arc::new(Mutex::new(0));
    for_seeds(12000..14000, |seed| {
        let counter = Arc::clone(&won);
        async move {
            let faults = SimulatedFaults {
                death_percent: 10 + seed % 4 * 10,
                ..SimulatedFaults::default()
            };
            let cluster = Cluster::new(seed, faults);
            let base = cluster.seed_document(&json!({ "writer": null }));
            let replication = cluster.replicate();
            let mut running = Vec::new();
            for writer in 0..1 + seed % 3 {
                let (cluster, base) = (cluster.clone(), base.clone());
                let start = cluster.random.millis(0, 8);
                running.push(tokio::spawn(async move {
                    sleep(start).await;
                    let context = context(&cluster.random);
                    compare_and_set(&cluster, &context, &base, &json!({ "writer": writer })).await
                }));
            }
            let mut winners = Vec::new();
            for (writer, task) in (0_u64..).zip(running) {
                if let Ok(Exchange::Won(_)) = task.await.unwrap() {
                    winners.push(writer);
                }
            }
            sleep(Duration::from_secs(10)).await;
            assert!(winners.len() <= 1, "seed {seed}: {winners:?}");
            let leaves = cluster.replicated_leaves();
            assert!(
                leaves.iter().any(|leaf| !leaf.deleted),
                "seed {seed}: the document is gone: {leaves:?}"
            );
            if let Some(winner) = winners.first() {
                let held = leaves
                    .iter()
                    .any(|leaf| !leaf.deleted && leaf.body["writer"] == json!(winner));
                assert!(held, "seed {seed}: the winner's leaf is gone: {leaves:?}");
                *counter.lock().unwrap() += 1;
            }
            replication.abort();
        }
    });
    let won = *won.lock().unwrap();
    assert!(won > 1500, "only {won} of 2000 exchanges were won");
}
