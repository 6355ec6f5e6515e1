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

use super::{DocumentStore, RaceContext, rank};
use crate::document::{ABOVE_MARK, Leaf, MARK, REMOVED, Rev, WITHDRAWN, Write};
use crate::error::{Call, Error, Result};
use crate::random::Random;

mod deaths;
mod races;

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
    async fn remove(&self, rev: &Rev) -> Result<Write> {
        self.write(Some(rev), true, &json!({ REMOVED: true })).await
    }
    async fn mark(&self, is_alone: bool) -> Result<bool> {
        sleep(self.random.millis(0, 25)).await;
        let mut nodes = self.nodes.lock().unwrap();
        let mut votes = 0;
        for node in nodes.iter_mut().filter(|node| node.up) {
            let above = is_alone.then_some(ABOVE_MARK);
            for rev in above.into_iter().chain([MARK]) {
                let edit = Edit {
                    parent: None,
                    deleted: true,
                    body: json!({ REMOVED: true }),
                };
                node.tree.0.insert(rev.to_owned(), edit);
            }
            votes += 1;
        }
        Ok(votes >= 2)
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
