//! Writers that race for one document.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use super::super::{
    ClaimOutcome, Deletion, Exchange, claim, compare_and_delete, compare_and_set, release,
};
use super::{Cluster, SimulatedFaults, context, for_seeds, owned_by};
use crate::document::{Leaf, Rev};
use crate::error::Result;

/// Starts `count` claimants within a few milliseconds and returns the outcome of each. If `mortal`, each is
/// killed once after a random time and starts again.
async fn claimants(
    cluster: &Cluster,
    count: usize,
    mortal: bool,
) -> Vec<Result<ClaimOutcome<Value>>> {
    let mut running = Vec::new();
    for owner in 0..count {
        let cluster = cluster.clone();
        let start = cluster.random.millis(0, 8);
        let lifetime = cluster.random.millis(1, 150);
        running.push(tokio::spawn(async move {
            sleep(start).await;
            let body = json!({ "owner": owner });
            if mortal {
                let doomed = context(&cluster.random);
                if let Ok(done) =
                    tokio::time::timeout(lifetime, claim(&cluster, &doomed, &body, owned_by(owner)))
                        .await
                {
                    return done;
                }
            }
            claim(&cluster, &context(&cluster.random), &body, owned_by(owner)).await
        }));
    }
    let mut ends = Vec::new();
    for task in running {
        ends.push(task.await.unwrap());
    }
    // Delayed requests arrive.
    sleep(Duration::from_secs(5)).await;
    ends
}

fn winners(ends: &[Result<ClaimOutcome<Value>>]) -> Vec<usize> {
    let won = |end: &Result<ClaimOutcome<Value>>| matches!(end, Ok(ClaimOutcome::Won(_)));
    (0..ends.len()).filter(|owner| won(&ends[*owner])).collect()
}

#[test]
fn on_a_healthy_cluster_a_claim_has_one_owner_and_only_its_leaves_live() {
    let contested = Arc::new(Mutex::new(0));
    let spares = Arc::new(Mutex::new(0));
    for_seeds(0..1500, |seed| {
        let (contested, spares) = (Arc::clone(&contested), Arc::clone(&spares));
        async move {
            let cluster = Cluster::new(seed, SimulatedFaults::default());
            let replication = cluster.replicate();
            let count = 2 + usize::try_from(seed % 5).unwrap();
            let ends = claimants(&cluster, count, false).await;
            let winners = winners(&ends);
            assert_eq!(winners.len(), 1, "seed {seed}: {ends:?}");
            for (owner, end) in ends.iter().enumerate() {
                if let ClaimOutcome::Taken(body) = end.as_ref().unwrap() {
                    assert_ne!(body["owner"], json!(owner), "seed {seed}: lost to itself");
                }
            }
            let alive: Vec<Leaf> = cluster
                .replicated_leaves()
                .into_iter()
                .filter(|leaf| !leaf.deleted)
                .collect();
            // If the nodes have different tombstones, one write of the owner can create two leaves.
            let of_the_owner = alive
                .iter()
                .all(|leaf| leaf.body["owner"] == json!(winners[0]));
            assert!(!alive.is_empty() && of_the_owner, "seed {seed}: {alive:?}");
            *spares.lock().unwrap() += alive.len() - 1;
            *contested.lock().unwrap() += *cluster.contested.lock().unwrap();
            replication.abort();
        }
    });
    let spares = *spares.lock().unwrap();
    assert!(
        spares < 150,
        "{spares} leaves are left behind in 1500 races"
    );
    // Races without 202 would test nothing.
    assert!(
        *contested.lock().unwrap() > 100,
        "the model answered 202 too rarely"
    );
}

#[test]
fn outages_lost_responses_and_crashes_never_lead_to_two_owners() {
    let owned_in = Arc::new(Mutex::new(0));
    for_seeds(1000..1600, |seed| {
        let owned = Arc::clone(&owned_in);
        async move {
            let faults = SimulatedFaults {
                lost_percent: seed % 4 * 8,
                outages: seed % 3 != 0,
                ..SimulatedFaults::default()
            };
            let cluster = Cluster::new(seed, faults);
            let replication = cluster.replicate();
            let ends = claimants(&cluster, 3, seed % 2 == 0).await;
            let winners = winners(&ends);
            assert!(winners.len() <= 1, "seed {seed}: {ends:?}");
            if let Some(winner) = winners.first() {
                let held = cluster
                    .replicated_leaves()
                    .iter()
                    .any(|leaf| !leaf.deleted && leaf.body["owner"] == json!(winner));
                assert!(held, "seed {seed}: the owner's leaf is gone");
                *owned.lock().unwrap() += 1;
            }
            replication.abort();
        }
    });
    let owned = *owned_in.lock().unwrap();
    assert!(owned > 500, "only {owned} of 600 races were won by anybody");
}

#[test]
fn release_frees_a_claim_of_its_owner_and_of_nobody_else() {
    for_seeds(2000..2100, |seed| async move {
        let cluster = Cluster::new(seed, SimulatedFaults::default());
        let replication = cluster.replicate();
        let ends = claimants(&cluster, 3, false).await;
        let winner = winners(&ends)[0];
        let context = context(&cluster.random);
        let alive = |owner: usize| {
            let leaves = cluster.replicated_leaves();
            leaves
                .iter()
                .any(|leaf| !leaf.deleted && leaf.body["owner"] == json!(owner))
        };
        for loser in (0..3).filter(|owner| *owner != winner) {
            release(&cluster, &context, owned_by(loser)).await.unwrap();
            assert!(!alive(loser), "seed {seed}");
            assert!(alive(winner), "seed {seed}");
        }
        assert!(
            release(&cluster, &context, owned_by(winner)).await.unwrap(),
            "seed {seed}"
        );
        assert!(
            !release(&cluster, &context, owned_by(winner)).await.unwrap(),
            "seed {seed}"
        );
        assert!(!alive(winner), "seed {seed}");
        let next = claim(&cluster, &context, &json!({ "owner": 7 }), owned_by(7))
            .await
            .unwrap();
        assert!(matches!(next, ClaimOutcome::Won(_)), "seed {seed}");
        replication.abort();
    });
}

async fn exchanges(cluster: &Cluster, base: &Rev, count: usize) -> Vec<Result<Exchange>> {
    let mut running = Vec::new();
    for writer in 0..count {
        let (cluster, base) = (cluster.clone(), base.clone());
        let start = cluster.random.millis(0, 8);
        running.push(tokio::spawn(async move {
            sleep(start).await;
            let context = context(&cluster.random);
            compare_and_set(&cluster, &context, &base, &json!({ "writer": writer })).await
        }));
    }
    let mut ends = Vec::new();
    for task in running {
        ends.push(task.await.unwrap());
    }
    sleep(Duration::from_secs(5)).await;
    ends
}

#[test]
fn a_compare_and_set_has_one_winner_and_the_document_stays_alive() {
    for_seeds(3000..3400, |seed| async move {
        let cluster = Cluster::new(seed, SimulatedFaults::default());
        let base = cluster.seed_document(&json!({ "writer": null }));
        let replication = cluster.replicate();
        let count = 2 + usize::try_from(seed % 5).unwrap();
        let ends = exchanges(&cluster, &base, count).await;
        let won: Vec<usize> = (0..count)
            .filter(|it| matches!(ends[*it], Ok(Exchange::Won(_))))
            .collect();
        assert_eq!(won.len(), 1, "seed {seed}: {ends:?}");
        let alive: Vec<Leaf> = cluster
            .replicated_leaves()
            .into_iter()
            .filter(|leaf| !leaf.deleted)
            .collect();
        let of_the_winner = alive
            .iter()
            .all(|leaf| leaf.body["writer"] == json!(won[0]));
        assert!(!alive.is_empty() && of_the_winner, "seed {seed}: {alive:?}");
        replication.abort();
    });
}

#[test]
fn lost_responses_never_lead_to_two_winners_of_a_compare_and_set() {
    for_seeds(4000..4600, |seed| async move {
        let faults = SimulatedFaults {
            lost_percent: seed % 4 * 8,
            outages: seed % 3 != 0,
            ..SimulatedFaults::default()
        };
        let cluster = Cluster::new(seed, faults);
        let base = cluster.seed_document(&json!({ "writer": null }));
        let replication = cluster.replicate();
        let ends = exchanges(&cluster, &base, 3).await;
        let won: Vec<usize> = (0..3)
            .filter(|it| matches!(ends[*it], Ok(Exchange::Won(_))))
            .collect();
        assert!(won.len() <= 1, "seed {seed}: {ends:?}");
        let alive = cluster.replicated_leaves().iter().any(|leaf| !leaf.deleted);
        assert!(alive, "seed {seed}: the document is gone; {ends:?}");
        replication.abort();
    });
}

#[test]
fn a_deletion_and_an_update_never_both_win() {
    for_seeds(5000..5300, |seed| async move {
        let cluster = Cluster::new(seed, SimulatedFaults::default());
        let base = cluster.seed_document(&json!({ "writer": null }));
        let replication = cluster.replicate();
        let deletion = {
            let (cluster, base) = (cluster.clone(), base.clone());
            tokio::spawn(async move {
                let context = context(&cluster.random);
                compare_and_delete(&cluster, &context, &base, Deletion::Plain).await
            })
        };
        let update = exchanges(&cluster, &base, 1).await.remove(0).unwrap();
        let deletion = deletion.await.unwrap().unwrap();
        let both = matches!((&deletion, &update), (Exchange::Won(_), Exchange::Won(_)));
        assert!(!both, "seed {seed}");
        let alive = cluster.replicated_leaves().iter().any(|leaf| !leaf.deleted);
        assert_eq!(
            alive,
            matches!(update, Exchange::Won(_)),
            "seed {seed}: {deletion:?} {update:?}"
        );
        replication.abort();
    });
}
