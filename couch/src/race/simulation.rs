//! The protocol against a model of a three-node cluster, in simulated time.
//!
//! The model answers as measured on CouchDB 3.4.3: each node takes or refuses a write for itself,
//! a little later than the others; 201 when two took the same revision, 202 when one did, 409 when
//! none; reads merge what the first two nodes have; the nodes tell each other later. Every run is
//! decided by its seed, which a failure prints.

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
    Claim, Exchange, Store, Terms, claim, compare_and_delete, compare_and_set, rank, release,
};
use crate::document::{Leaf, Rev, WITHDRAWN, Write};
use crate::error::{Call, Error, Result};
use crate::pause::Dice;

#[derive(Clone, Debug)]
struct Edit {
    parent: Option<Rev>,
    deleted: bool,
    body: Value,
}

/// One document's revision tree, as one node knows it.
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
            None if leaves.iter().any(|leaf| !leaf.deleted) => return None,
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

/// What can go wrong on the way.
#[derive(Clone, Copy, Default)]
struct Weather {
    /// Of a hundred requests, so many whose answer is lost; half of them arrive much later.
    lost: u64,
    /// Whether one node after the other goes away for a while.
    outages: bool,
}

#[derive(Clone)]
struct Cluster {
    nodes: Arc<Mutex<Vec<Node>>>,
    dice: Arc<Dice>,
    weather: Weather,
    contested: Arc<Mutex<u32>>,
}

impl Cluster {
    fn new(seed: u64, weather: Weather) -> Self {
        let nodes = (0..3).map(|_| Node {
            tree: Tree::default(),
            up: true,
        });
        Self {
            nodes: Arc::new(Mutex::new(nodes.collect())),
            dice: Arc::new(Dice::new(Some(seed))),
            weather,
            contested: Arc::default(),
        }
    }

    /// Nodes tell each other now and then, until the returned task is stopped.
    fn live(&self) -> tokio::task::JoinHandle<()> {
        let cluster = self.clone();
        tokio::spawn(async move {
            loop {
                sleep(cluster.dice.millis(1, 40)).await;
                let (from, to) = (cluster.pick(3), cluster.pick(3));
                let mut nodes = cluster.nodes.lock().unwrap();
                if nodes[from].up && nodes[to].up {
                    let tree = nodes[from].tree.clone();
                    nodes[to].tree.learn(&tree);
                }
                if cluster.weather.outages && cluster.pick(12) == 0 {
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
        usize::try_from(self.dice.draw() % sides).unwrap()
    }

    /// What all nodes know once they have told each other everything.
    fn settled(&self) -> Vec<Leaf> {
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
        let lost = self.dice.draw() % 100 < self.weather.lost;
        if lost && self.pick(2) == 0 {
            // The network holds the request back, and the client gives up.
            let (cluster, onto, body) = (self.clone(), onto.cloned(), body.clone());
            let delay = self.dice.millis(10, 1500);
            tokio::spawn(async move {
                sleep(delay).await;
                cluster.coordinate(onto, deleted, body).await;
            });
            sleep(Duration::from_millis(50)).await;
            return Err(no_answer());
        }
        let answer = self.coordinate(onto.cloned(), deleted, body.clone()).await;
        if lost {
            return Err(no_answer());
        }
        answer.ok_or_else(no_answer)
    }

    async fn coordinate(&self, onto: Option<Rev>, deleted: bool, body: Value) -> Option<Write> {
        let (tell, mut told) = mpsc::unbounded_channel();
        for at in 0..3 {
            let (cluster, tell, onto, body) =
                (self.clone(), tell.clone(), onto.clone(), body.clone());
            let delay = self.dice.millis(0, 25);
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
        while let Some(answer) = told.recv().await {
            let Some(rev) = answer else {
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

fn no_answer() -> Error {
    Error::Unavailable {
        call: Call::server("simulated call"),
        unsent: false,
        source: "the answer was lost".into(),
    }
}

impl Store for Cluster {
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
    async fn leaves(&self) -> Result<Vec<Leaf>> {
        sleep(self.dice.millis(0, 25)).await;
        let first = self.pick(3);
        let nodes = self.nodes.lock().unwrap();
        let up: Vec<usize> = (0..3)
            .map(|at| (first + at) % 3)
            .filter(|at| nodes[*at].up)
            .collect();
        let (Some(a), Some(b)) = (up.first(), up.get(1)) else {
            return Err(no_answer());
        };
        let mut merged = nodes[*a].tree.clone();
        merged.learn(&nodes[*b].tree);
        Ok(merged.leaves())
    }
}

fn terms(dice: &Dice) -> Terms<'_> {
    Terms {
        call: Call::server("simulated race"),
        dice,
        deadline: Instant::now() + Duration::from_secs(30),
    }
}

fn of(owner: usize) -> impl Fn(&Leaf) -> Result<bool> {
    move |leaf| Ok(leaf.body["owner"] == json!(owner))
}

/// Runs `run` in simulated time, once for each seed.
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

/// `count` claimants set out within a few milliseconds; each is killed after `lifetime` and begins
/// again, if there is one. What each ended with.
async fn claimants(cluster: &Cluster, count: usize, mortal: bool) -> Vec<Result<Claim<Value>>> {
    let mut running = Vec::new();
    for owner in 0..count {
        let cluster = cluster.clone();
        let start = cluster.dice.millis(0, 8);
        let lifetime = cluster.dice.millis(1, 150);
        running.push(tokio::spawn(async move {
            sleep(start).await;
            let body = json!({ "owner": owner });
            if mortal {
                let doomed = terms(&cluster.dice);
                if let Ok(done) =
                    tokio::time::timeout(lifetime, claim(&cluster, &doomed, &body, of(owner))).await
                {
                    return done;
                }
            }
            claim(&cluster, &terms(&cluster.dice), &body, of(owner)).await
        }));
    }
    let mut ends = Vec::new();
    for task in running {
        ends.push(task.await.unwrap());
    }
    // Whatever the network still holds arrives.
    sleep(Duration::from_secs(5)).await;
    ends
}

fn winners(ends: &[Result<Claim<Value>>]) -> Vec<usize> {
    let won = |end: &Result<Claim<Value>>| matches!(end, Ok(Claim::Won(_)));
    (0..ends.len()).filter(|owner| won(&ends[*owner])).collect()
}

#[test]
fn a_healthy_cluster_has_one_owner_and_one_live_leaf() {
    let contested = Arc::new(Mutex::new(0));
    let spares = Arc::new(Mutex::new(0));
    for_seeds(0..400, |seed| {
        let (contested, spares) = (Arc::clone(&contested), Arc::clone(&spares));
        async move {
            let cluster = Cluster::new(seed, Weather::default());
            let life = cluster.live();
            let count = 2 + usize::try_from(seed % 5).unwrap();
            let ends = claimants(&cluster, count, false).await;
            let winners = winners(&ends);
            assert_eq!(winners.len(), 1, "seed {seed}: {ends:?}");
            for (owner, end) in ends.iter().enumerate() {
                if let Claim::Taken(body) = end.as_ref().unwrap() {
                    assert_ne!(body["owner"], json!(owner), "seed {seed}: lost to itself");
                }
            }
            let alive: Vec<Leaf> = cluster
                .settled()
                .into_iter()
                .filter(|leaf| !leaf.deleted)
                .collect();
            // Over tombstones that differ from node to node the owner's one write can make two leaves.
            let of_the_owner = alive
                .iter()
                .all(|leaf| leaf.body["owner"] == json!(winners[0]));
            assert!(!alive.is_empty() && of_the_owner, "seed {seed}: {alive:?}");
            *spares.lock().unwrap() += alive.len() - 1;
            *contested.lock().unwrap() += *cluster.contested.lock().unwrap();
            life.abort();
        }
    });
    let spares = *spares.lock().unwrap();
    assert!(spares < 40, "{spares} leaves are left behind in 400 races");
    // Without 202 the runs would show nothing.
    assert!(
        *contested.lock().unwrap() > 100,
        "the model answered 202 too seldom"
    );
}

#[test]
fn outages_lost_answers_and_deaths_never_make_two_owners() {
    let owned_in = Arc::new(Mutex::new(0));
    for_seeds(1000..1600, |seed| {
        let owned = Arc::clone(&owned_in);
        async move {
            let weather = Weather {
                lost: seed % 4 * 8,
                outages: seed % 3 != 0,
            };
            let cluster = Cluster::new(seed, weather);
            let life = cluster.live();
            let ends = claimants(&cluster, 3, seed % 2 == 0).await;
            let winners = winners(&ends);
            assert!(winners.len() <= 1, "seed {seed}: {ends:?}");
            if let Some(winner) = winners.first() {
                let held = cluster
                    .settled()
                    .iter()
                    .any(|leaf| !leaf.deleted && leaf.body["owner"] == json!(winner));
                assert!(held, "seed {seed}: the owner's leaf is gone");
                *owned.lock().unwrap() += 1;
            }
            life.abort();
        }
    });
    let owned = *owned_in.lock().unwrap();
    assert!(owned > 500, "only {owned} of 600 races were won by anybody");
}

#[test]
fn a_claim_that_is_given_back_is_free_and_one_of_somebody_else_stays() {
    for_seeds(2000..2100, |seed| async move {
        let cluster = Cluster::new(seed, Weather::default());
        let life = cluster.live();
        let ends = claimants(&cluster, 3, false).await;
        let winner = winners(&ends)[0];
        let terms = terms(&cluster.dice);
        let alive = |owner: usize| {
            let leaves = cluster.settled();
            leaves
                .iter()
                .any(|leaf| !leaf.deleted && leaf.body["owner"] == json!(owner))
        };
        for loser in (0..3).filter(|owner| *owner != winner) {
            release(&cluster, &terms, of(loser)).await.unwrap();
            assert!(!alive(loser), "seed {seed}");
            assert!(alive(winner), "seed {seed}");
        }
        assert!(
            release(&cluster, &terms, of(winner)).await.unwrap(),
            "seed {seed}"
        );
        assert!(
            !release(&cluster, &terms, of(winner)).await.unwrap(),
            "seed {seed}"
        );
        assert!(!alive(winner), "seed {seed}");
        let next = claim(&cluster, &terms, &json!({ "owner": 7 }), of(7))
            .await
            .unwrap();
        assert!(matches!(next, Claim::Won(_)), "seed {seed}");
        life.abort();
    });
}

async fn exchanges(cluster: &Cluster, base: &Rev, count: usize) -> Vec<Result<Exchange>> {
    let mut running = Vec::new();
    for writer in 0..count {
        let (cluster, base) = (cluster.clone(), base.clone());
        let start = cluster.dice.millis(0, 8);
        running.push(tokio::spawn(async move {
            sleep(start).await;
            let terms = terms(&cluster.dice);
            compare_and_set(&cluster, &terms, &base, &json!({ "writer": writer })).await
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
fn a_compare_and_set_has_one_winner_and_the_document_lives_on() {
    for_seeds(3000..3400, |seed| async move {
        let cluster = Cluster::new(seed, Weather::default());
        let base = cluster.seed_document(&json!({ "writer": null }));
        let life = cluster.live();
        let count = 2 + usize::try_from(seed % 5).unwrap();
        let ends = exchanges(&cluster, &base, count).await;
        let won: Vec<usize> = (0..count)
            .filter(|it| matches!(ends[*it], Ok(Exchange::Won(_))))
            .collect();
        assert_eq!(won.len(), 1, "seed {seed}: {ends:?}");
        let alive: Vec<Leaf> = cluster
            .settled()
            .into_iter()
            .filter(|leaf| !leaf.deleted)
            .collect();
        let of_the_winner = alive
            .iter()
            .all(|leaf| leaf.body["writer"] == json!(won[0]));
        assert!(!alive.is_empty() && of_the_winner, "seed {seed}: {alive:?}");
        life.abort();
    });
}

#[test]
fn lost_answers_never_make_two_winners_of_a_compare_and_set() {
    for_seeds(4000..4600, |seed| async move {
        let weather = Weather {
            lost: seed % 4 * 8,
            outages: seed % 3 != 0,
        };
        let cluster = Cluster::new(seed, weather);
        let base = cluster.seed_document(&json!({ "writer": null }));
        let life = cluster.live();
        let ends = exchanges(&cluster, &base, 3).await;
        let won: Vec<usize> = (0..3)
            .filter(|it| matches!(ends[*it], Ok(Exchange::Won(_))))
            .collect();
        assert!(won.len() <= 1, "seed {seed}: {ends:?}");
        let alive = cluster.settled().iter().any(|leaf| !leaf.deleted);
        assert!(alive, "seed {seed}: the document is gone; {ends:?}");
        life.abort();
    });
}

#[test]
fn a_deletion_and_an_update_never_both_win() {
    for_seeds(5000..5300, |seed| async move {
        let cluster = Cluster::new(seed, Weather::default());
        let base = cluster.seed_document(&json!({ "writer": null }));
        let life = cluster.live();
        let deletion = {
            let (cluster, base) = (cluster.clone(), base.clone());
            tokio::spawn(
                async move { compare_and_delete(&cluster, &terms(&cluster.dice), &base).await },
            )
        };
        let update = exchanges(&cluster, &base, 1).await.remove(0).unwrap();
        let deletion = deletion.await.unwrap().unwrap();
        let both = matches!((&deletion, &update), (Exchange::Won(_), Exchange::Won(_)));
        assert!(!both, "seed {seed}");
        let alive = cluster.settled().iter().any(|leaf| !leaf.deleted);
        assert_eq!(
            alive,
            matches!(update, Exchange::Won(_)),
            "seed {seed}: {deletion:?} {update:?}"
        );
        life.abort();
    });
}
