//! Tests of the protocol against a model of a three-node cluster, in simulated time.
//!
//! The model behaves as measured on CouchDB 3.4.3. Each node accepts or refuses a write on its own, after a
//! random delay. The response is 201 if two nodes took the same revision, 202 if one did, 409 if none did. A
//! read merges the trees of two nodes. Replication between nodes is delayed. The seed determines the whole run
//! and is printed on failure.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a failed expectation is the test failing"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::{
    ClaimOutcome, Deletion, DocumentStore, Exchange, RaceContext, claim, compare_and_delete,
    compare_and_set, rank, release, remove_for_good, remove_returned,
};
use crate::document::{Leaf, REMOVED, Rev, WITHDRAWN, Write};
use crate::error::{Call, Error, Result};
use crate::random::Random;

#[derive(Clone, Debug)]
struct Edit {
    parent: Option<Rev>,
    deleted: bool,
    body: Value,
}

/// The revision tree of the document on one node.
#[derive(Clone, Default, Debug)]
struct Tree(BTreeMap<String, Edit>);

impl Tree {
    fn leaves(&self) -> Vec<Leaf> {
        let parents: BTreeSet<&str> = self
            .0
            .values()
            .filter_map(|edit| edit.parent.as_ref().map(Rev::as_str))
            .collect();
        let ends = self
            .0
            .iter()
            .filter(|(rev, _)| !parents.contains(rev.as_str()));
        ends.map(|(rev, edit)| {
            let mut history = vec![Rev::new(rev.clone())];
            let mut next = edit.parent.clone();
            while let Some(rev) = next {
                next = self
                    .0
                    .get(rev.as_str())
                    .and_then(|edit| edit.parent.clone());
                history.push(rev);
            }
            Leaf {
                rev: Rev::new(rev.clone()),
                parent: edit.parent.clone(),
                history,
                deleted: edit.deleted,
                body: edit.body.clone(),
            }
        })
        .collect()
    }

    fn write(&mut self, onto: Option<&Rev>, deleted: bool, body: &Value) -> Option<Rev> {
        let leaves = self.leaves();
        let parent = match onto {
            Some(rev) => Some(leaves.iter().find(|leaf| leaf.rev == *rev)?.rev.clone()),
            // A deleted document takes no second deletion.
            None if leaves.iter().any(|leaf| deleted || !leaf.deleted) => return None,
            None => leaves
                .iter()
                .max_by_key(|leaf| rank(&leaf.rev))
                .map(|leaf| leaf.rev.clone()),
        };
        let mut hash = DefaultHasher::new();
        (parent.as_ref().map(Rev::as_str), deleted, body.to_string()).hash(&mut hash);
        let generation = parent.as_ref().map_or(0, Rev::generation) + 1;
        let rev = format!("{generation}-{:016x}", hash.finish());
        let edit = Edit {
            parent,
            deleted,
            body: body.clone(),
        };
        self.0.insert(rev.clone(), edit);
        Some(Rev::new(rev))
    }

    fn learn(&mut self, other: &Self) {
        self.0.extend(
            other
                .0
                .iter()
                .map(|(rev, edit)| (rev.clone(), edit.clone())),
        );
    }
}

struct Node {
    tree: Tree,
    up: bool,
}

/// Simulated faults.
#[derive(Clone, Copy, Default)]
struct SimulatedFaults {
    /// The percentage of requests whose response is lost. Half of these requests arrive much later.
    lost_percent: u64,
    /// Whether single nodes go down for a while.
    outages: bool,
    /// The percentage of writes at which the node that takes the request dies: before its own commit, or after it
    /// and before another node has the write. It comes back some time later.
    death_percent: u64,
}

#[derive(Clone)]
struct Cluster {
    nodes: Arc<Mutex<Vec<Node>>>,
    random: Arc<Random>,
    faults: SimulatedFaults,
    contested: Arc<Mutex<u32>>,
}

impl Cluster {
    fn new(seed: u64, faults: SimulatedFaults) -> Self {
        let nodes = (0..3).map(|_| Node {
            tree: Tree::default(),
            up: true,
        });
        Self {
            nodes: Arc::new(Mutex::new(nodes.collect())),
            random: Arc::new(Random::new(Some(seed))),
            faults,
            contested: Arc::default(),
        }
    }

    /// Replicates between random nodes until the returned task is aborted.
    fn replicate(&self) -> tokio::task::JoinHandle<()> {
        let cluster = self.clone();
        tokio::spawn(async move {
            loop {
                sleep(cluster.random.millis(1, 40)).await;
                let (from, to) = (cluster.pick(3), cluster.pick(3));
                let mut nodes = cluster.nodes.lock().unwrap();
                if nodes[from].up && nodes[to].up {
                    let tree = nodes[from].tree.clone();
                    nodes[to].tree.learn(&tree);
                }
                if cluster.faults.outages && cluster.pick(12) == 0 {
                    let other_down = nodes.iter().position(|node| !node.up);
                    match other_down {
                        Some(down) => nodes[down].up = true,
                        None => nodes[from].up = false,
                    }
                }
            }
        })
    }

    fn pick(&self, sides: u64) -> usize {
        usize::try_from(self.random.next_u64() % sides).unwrap()
    }

    /// The leaves after complete replication.
    fn replicated_leaves(&self) -> Vec<Leaf> {
        let nodes = self.nodes.lock().unwrap();
        let mut all = Tree::default();
        for node in nodes.iter() {
            all.learn(&node.tree);
        }
        all.leaves()
    }

    fn seed_document(&self, body: &Value) -> Rev {
        let mut nodes = self.nodes.lock().unwrap();
        let revs: Vec<Rev> = nodes
            .iter_mut()
            .map(|node| node.tree.write(None, false, body).unwrap())
            .collect();
        revs[0].clone()
    }

    async fn write(&self, onto: Option<&Rev>, deleted: bool, body: &Value) -> Result<Write> {
        if self.random.next_u64() % 100 < self.faults.death_percent
            && self.die_at(onto, deleted, body)
        {
            return Err(lost_response());
        }
        let lost = self.random.next_u64() % 100 < self.faults.lost_percent;
        if lost && self.pick(2) == 0 {
            // The network delays the request, and the client gives up.
            let (cluster, onto, body) = (self.clone(), onto.cloned(), body.clone());
            let delay = self.random.millis(10, 1500);
            tokio::spawn(async move {
                sleep(delay).await;
                cluster.coordinate(onto, deleted, body).await;
            });
            sleep(Duration::from_millis(50)).await;
            return Err(lost_response());
        }
        let response = self.coordinate(onto.cloned(), deleted, body.clone()).await;
        if lost {
            return Err(lost_response());
        }
        response.ok_or_else(lost_response)
    }

    /// A node takes a write and dies. Returns whether it did: it does not while another node is away.
    fn die_at(&self, onto: Option<&Rev>, deleted: bool, body: &Value) -> bool {
        let at = self.pick(3);
        let committed = self.pick(3) > 0;
        let away = self.random.millis(50, 4000);
        let mut nodes = self.nodes.lock().unwrap();
        if nodes.iter().any(|node| !node.up) {
            return false;
        }
        if committed {
            let _rev = nodes[at].tree.write(onto, deleted, body);
        }
        nodes[at].up = false;
        drop(nodes);
        let cluster = self.clone();
        tokio::spawn(async move {
            sleep(away).await;
            cluster.nodes.lock().unwrap()[at].up = true;
        });
        true
    }

    async fn coordinate(&self, onto: Option<Rev>, deleted: bool, body: Value) -> Option<Write> {
        let (tell, mut told) = mpsc::unbounded_channel();
        for at in 0..3 {
            let (cluster, tell, onto, body) =
                (self.clone(), tell.clone(), onto.clone(), body.clone());
            let delay = self.random.millis(0, 25);
            tokio::spawn(async move {
                sleep(delay).await;
                let mut nodes = cluster.nodes.lock().unwrap();
                if nodes[at].up {
                    let _ = tell.send(nodes[at].tree.write(onto.as_ref(), deleted, &body));
                }
            });
        }
        drop(tell);
        let mut taken: BTreeMap<String, u32> = BTreeMap::new();
        let mut refused = false;
        while let Some(response) = told.recv().await {
            let Some(rev) = response else {
                refused = true;
                continue;
            };
            let votes = taken.entry(rev.as_str().to_owned()).or_default();
            *votes += 1;
            if *votes == 2 {
                return Some(Write::Committed(rev));
            }
        }
        match taken.into_keys().next() {
            Some(rev) => {
                *self.contested.lock().unwrap() += 1;
                Some(Write::Contested(Rev::new(rev)))
            }
            None => refused.then_some(Write::Conflict),
        }
    }
}

fn lost_response() -> Error {
    Error::Unavailable {
        call: Call::server("simulated call"),
        unsent: false,
        source: "the response was lost".into(),
    }
}

impl DocumentStore for Cluster {
    async fn put(&self, rev: Option<&Rev>, body: &Value) -> Result<Write> {
        self.write(rev, false, body).await
    }
    async fn delete(&self, rev: &Rev) -> Result<Write> {
        self.write(Some(rev), true, &json!({})).await
    }
    async fn withdraw(&self, rev: &Rev) -> Result<Write> {
        self.write(Some(rev), true, &json!({ WITHDRAWN: true }))
            .await
    }
    async fn remove(&self, rev: Option<&Rev>) -> Result<Write> {
        self.write(rev, true, &json!({ REMOVED: true })).await
    }
    async fn leaves(&self) -> Result<Vec<Leaf>> {
        sleep(self.random.millis(0, 25)).await;
        let first = self.pick(3);
        let nodes = self.nodes.lock().unwrap();
        let up: Vec<usize> = (0..3)
            .map(|at| (first + at) % 3)
            .filter(|at| nodes[*at].up)
            .collect();
        let (Some(a), Some(b)) = (up.first(), up.get(1)) else {
            return Err(lost_response());
        };
        let mut merged = nodes[*a].tree.clone();
        merged.learn(&nodes[*b].tree);
        Ok(merged.leaves())
    }
}

fn context(random: &Random) -> RaceContext<'_> {
    RaceContext {
        call: Call::server("simulated race"),
        random,
        deadline: Instant::now() + Duration::from_secs(30),
    }
}

fn owned_by(owner: usize) -> impl Fn(&Leaf) -> Result<bool> {
    move |leaf| Ok(leaf.body["owner"] == json!(owner))
}

/// Runs `run` once for each seed, in simulated time.
fn for_seeds<F: Future<Output = ()>>(seeds: std::ops::Range<u64>, run: impl Fn(u64) -> F) {
    for seed in seeds {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(run(seed));
    }
}

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
    for_seeds(0..400, |seed| {
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
    assert!(spares < 40, "{spares} leaves are left behind in 400 races");
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
