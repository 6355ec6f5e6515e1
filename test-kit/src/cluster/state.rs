//! What the parts of the model share: which nodes are alive, which databases exist, and what is not yet replicated.

use std::{
    collections::{BTreeMap, HashMap},
    ops::RangeInclusive,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use tokio::sync::{RwLock, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::{
    fault::{Deaths, Moment, Role},
    wire::{Answer, Call, Wire},
};
use crate::{database::Embedded, dice::Rng};

/// The number of nodes. Each holds every document.
pub(super) const NODES: usize = 3;

/// How many nodes have to agree.
pub(super) const QUORUM: usize = 2;

/// Whether a node works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    Live,
    /// It hangs. Requests wait until it goes on.
    Paused,
    Dead,
}

/// The life of a node, and how often it has died. A message to a node is lost when the node dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pulse {
    pub(super) life: Life,
    pub(super) deaths: u32,
}

/// The last creation or deletion of a database.
#[derive(Clone, Debug)]
pub(super) struct Record {
    /// Counts the creations and deletions of this name.
    pub(super) generation: u64,
    pub(super) present: bool,
    /// The request that created it, for a node that was away.
    pub(super) creation: Call,
}

/// How far one node has received the changes of another.
#[derive(Clone, Debug, Default)]
pub(super) struct Checkpoint {
    pub(super) generation: u64,
    /// The sequence of the other node's changes feed.
    pub(super) seq: String,
    /// [`State::written`] of the lane.
    pub(super) written: u64,
}

/// A database, the node whose changes are sent, and the node that receives them.
pub(super) type Lane = (String, usize, usize);

#[derive(Default)]
pub(super) struct State {
    pub(super) databases: BTreeMap<String, Record>,
    /// The generation of each database that each node has carried out.
    pub(super) known: [HashMap<String, u64>; NODES],
    /// Counts the writes that the second node of a lane may lack.
    pub(super) written: HashMap<Lane, u64>,
    pub(super) checkpoints: HashMap<Lane, Checkpoint>,
    /// Nodes that take no part in replication for now.
    pub(super) held: [bool; NODES],
    pub(super) deaths: Deaths,
    /// The last write from a coordinator (first) to a replica (second) of a database. Writes of one lane keep their
    /// order, as on one connection.
    pub(super) tails: HashMap<Lane, oneshot::Receiver<()>>,
    /// Numbers the messages with writes.
    pub(super) sent: u64,
    /// The writes on the way to each database and node: their numbers and paths.
    pub(super) under_way: HashMap<(String, usize), BTreeMap<u64, String>>,
}

impl State {
    /// The generation of a database; 0 if it never existed.
    pub(super) fn generation(&self, db: &str) -> u64 {
        self.databases.get(db).map_or(0, |it| it.generation)
    }

    /// Whether a node has carried out the last creation or deletion of a database.
    pub(super) fn knows(&self, node: usize, db: &str) -> bool {
        self.known[node].get(db).copied().unwrap_or(0) == self.generation(db)
    }

    /// Remembers that another node may lack what a node has.
    pub(super) fn mark_lane(&mut self, db: &str, from: usize, to: usize) {
        *self.written.entry((db.to_owned(), from, to)).or_default() += 1;
    }

    /// Remembers that all other nodes may lack what a node has.
    pub(super) fn mark_written(&mut self, db: &str, node: usize) {
        for to in (0..NODES).filter(|to| *to != node) {
            self.mark_lane(db, node, to);
        }
    }
}

/// The shared part of a cluster.
pub(super) struct Inner {
    pub(super) wire: Wire,
    pub(super) embedded: [Embedded; NODES],
    lives: watch::Sender<[Pulse; NODES]>,
    state: Mutex<State>,
    dice: Mutex<Rng>,
    locks: Mutex<HashMap<String, Arc<RwLock<()>>>>,
    /// Held while a node dies or comes back.
    pub(super) turns: [tokio::sync::Mutex<()>; NODES],
    /// Cancelled to close the port and the connections of a node.
    pub(super) doors: Mutex<[CancellationToken; NODES]>,
    stop: CancellationToken,
}

impl Inner {
    pub(super) fn new(seed: u64, embedded: [Embedded; NODES], stop: CancellationToken) -> Self {
        let born = Pulse {
            life: Life::Live,
            deaths: 0,
        };
        Self {
            wire: Wire::new(embedded.each_ref().map(Embedded::address)),
            embedded,
            lives: watch::Sender::new([born; NODES]),
            state: Mutex::default(),
            dice: Mutex::new(Rng::with_seed(seed)),
            locks: Mutex::default(),
            turns: Default::default(),
            doors: Mutex::default(),
            stop,
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic while it is held")
    }

    /// Runs a task until the cluster is dropped.
    pub(super) fn spawn(self: &Arc<Self>, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        tokio::spawn(async move { stop.run_until_cancelled(task).await });
    }

    pub(super) fn draw(&self, range: RangeInclusive<u64>) -> u64 {
        self.dice.lock().expect("no panic").u64(range)
    }

    /// A random node of these.
    pub(super) fn pick(&self, nodes: &[usize]) -> Option<usize> {
        let mut dice = self.dice.lock().expect("no panic");
        (!nodes.is_empty()).then(|| nodes[dice.usize(..nodes.len())])
    }

    /// How long a message to a node takes. Most are immediate, so that tests are fast; the others are long enough to
    /// be overtaken.
    pub(super) fn latency(&self) -> Duration {
        match self.draw(0..=3) {
            0 => Duration::from_millis(self.draw(1..=8)),
            _ => Duration::ZERO,
        }
    }

    pub(super) fn pulse(&self, node: usize) -> Pulse {
        self.lives.borrow()[node]
    }

    pub(super) fn watch(&self) -> watch::Receiver<[Pulse; NODES]> {
        self.lives.subscribe()
    }

    pub(super) fn is_live(&self, node: usize) -> bool {
        self.pulse(node).life == Life::Live
    }

    pub(super) fn live_nodes(&self) -> Vec<usize> {
        (0..NODES).filter(|node| self.is_live(*node)).collect()
    }

    /// The live nodes that have carried out the last creation or deletion of a database.
    pub(super) fn nodes_with(&self, db: &str) -> Vec<usize> {
        let state = self.state();
        let mut nodes = self.live_nodes();
        nodes.retain(|node| state.knows(*node, db));
        nodes
    }

    pub(super) fn set_life(&self, node: usize, life: Life) {
        self.lives.send_modify(|lives| {
            let pulse = &mut lives[node];
            pulse.deaths += u32::from(life == Life::Dead && pulse.life != Life::Dead);
            pulse.life = life;
        });
    }

    /// Waits until a node does not hang.
    pub(super) async fn until_awake(&self, node: usize) {
        let mut lives = self.watch();
        // The sender lives as long as `self`.
        let _ = lives
            .wait_for(|lives| lives[node].life != Life::Paused)
            .await;
    }

    /// Waits until a node is not as it was.
    pub(super) async fn until_changed(&self, node: usize, from: Pulse) {
        let mut lives = self.watch();
        let _ = lives.wait_for(|lives| lives[node] != from).await;
    }

    /// The lock of a database. Whoever creates or deletes the database writes; whoever stores or replicates documents
    /// of it reads.
    pub(super) fn lock(&self, db: &str) -> Arc<RwLock<()>> {
        let mut locks = self.locks.lock().expect("no panic");
        Arc::clone(locks.entry(db.to_owned()).or_default())
    }

    /// Waits until a live node has executed the writes that are on the way to it: those of one document, or all. Without
    /// this, replication would bring a node a revision before the write itself, which the node then refuses. CouchDB's
    /// replication is too slow for that.
    pub(super) async fn until_arrived(&self, db: &str, node: usize, document: Option<&str>) {
        let last = self.state().sent;
        loop {
            let arrived = {
                let state = self.state();
                let writes = state.under_way.get(&(db.to_owned(), node));
                let mut writes = writes.into_iter().flat_map(|it| it.range(..=last));
                let concerned = |path: &str| {
                    document.is_none_or(|it| path == it || path.ends_with("/_bulk_docs"))
                };
                !writes.any(|(_, path)| concerned(path))
            };
            if arrived || !self.is_live(node) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Counts a write for the schedule of deaths.
    pub(super) fn strike(&self, node: usize, role: Role, path: &str) -> Option<Moment> {
        self.state().deaths.strike(node, role, path)
    }

    pub(super) async fn ask(&self, node: usize, call: &Call) -> Answer {
        self.wire.ask(node, call).await
    }

    /// Closes the port and the connections of a node.
    pub(super) fn close_door(&self, node: usize) {
        self.doors.lock().expect("no panic")[node].cancel();
    }

    /// Kills a node at once.
    pub(super) fn kill(&self, node: usize) {
        self.set_life(node, Life::Dead);
        self.close_door(node);
    }

    /// A node commits a write, which reaches no other node, and dies. Nothing happens if it died before.
    pub(super) async fn commit_and_die(&self, node: usize, pulse: Pulse, db: &str, call: &Call) {
        let _turn = self.turns[node].lock().await;
        if self.pulse(node) != pulse {
            return;
        }
        // Dead for the others before the commit, so that none of them reads it; cut off from the client after it, so
        // that it is done when the client sees the error.
        self.set_life(node, Life::Dead);
        let lock = self.lock(db);
        let alone = lock.write().await;
        let knows = self.state().knows(node, db);
        if knows && self.ask(node, call).await.status.is_success() {
            self.state().mark_written(db, node);
        }
        drop(alone);
        self.close_door(node);
    }
}
