//! A model of a cluster of three CouchDB nodes, for tests of what survives when nodes die, hang and come back.
//!
//! Each node is an embedded database with its own revision trees, behind a port of its own that a client speaks to as
//! to a CouchDB. A node that receives a request coordinates it as CouchDB does with `n=3` and `r=w=2`:
//!
//! - Each node executes a write of documents on its own. The status is 201 if two nodes gave the same revision, 202 if
//!   only one did, 409 if none did.
//! - A read of a document merges the trees of two nodes first.
//! - A list, a query or a changes feed is answered by any one node, which may lag behind.
//! - A node that comes back has what it had. It creates and deletes the databases that it missed before it answers,
//!   and receives documents by replication, which takes a while.
//!
//! The seed determines delays, the choice of nodes and the pauses of replication, but not how the tasks of the test
//! are scheduled: a seed makes a failure likely to happen again, not certain.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::{
    database::{Embedded, PASSWORD, USER},
    eventually,
};

mod changes;
mod coordinator;
mod databases;
mod door;
mod fault;
mod route;
mod state;
mod sync;
mod wire;
mod write;

pub use fault::{Death, Moment};

use door::Port;
use state::{Inner, Life, NODES};

/// The names of the nodes in `/_membership`.
pub const NODE_NAMES: [&str; NODES] = ["couchdb@node0", "couchdb@node1", "couchdb@node2"];

/// A cluster of three nodes, which are numbered from 0. Dropping it stops it.
pub struct Cluster {
    inner: Arc<Inner>,
    ports: [Port; NODES],
    stop: CancellationToken,
}

impl Cluster {
    /// Starts three empty nodes.
    ///
    /// # Panics
    /// When a database cannot be started.
    pub async fn start(seed: u64) -> Self {
        let stop = CancellationToken::new();
        let embedded = tokio::join!(Embedded::start(), Embedded::start(), Embedded::start());
        let inner = Arc::new(Inner::new(seed, embedded.into(), stop.clone()));
        let ports: [Port; NODES] = std::array::from_fn(|_| Port::reserve());
        for (node, port) in ports.iter().enumerate() {
            door::open(&inner, node, port);
        }
        inner.spawn(Arc::clone(&inner).replicate_forever());
        Self { inner, ports, stop }
    }

    /// The URLs of the nodes, with user and password.
    #[must_use]
    pub fn urls(&self) -> Vec<String> {
        let ports = self.ports.iter();
        ports
            .map(|port| format!("http://{USER}:{PASSWORD}@{}", port.address()))
            .collect()
    }

    /// The URL of the database of one node alone, with user and password, so that a test can see what the node has.
    /// It answers also while the node is dead, and no fault affects it.
    #[must_use]
    pub fn replica_url(&self, node: usize) -> String {
        let address = self.inner.embedded[node].address();
        format!("http://{USER}:{PASSWORD}@{address}")
    }

    /// Kills a node: its connections are cut, new ones are refused, and messages to it are lost. It keeps what it has.
    pub fn kill(&self, node: usize) {
        self.inner.kill(node);
    }

    /// Starts a dead node again, with what it had. Returns when it has created and deleted the databases that it
    /// missed and takes requests. Documents that it missed come later. No effect on a node that is not dead.
    pub async fn start_node(&self, node: usize) {
        let _turn = self.inner.turns[node].lock().await;
        let from = self.inner.pulse(node);
        if from.life == Life::Dead {
            self.inner.come_back(node, from).await;
            if self.inner.is_live(node) {
                door::open(&self.inner, node, &self.ports[node]);
            }
        }
    }

    /// Lets a live node hang. Requests to it wait, and the other nodes go on without it.
    pub fn pause(&self, node: usize) {
        if self.inner.is_live(node) {
            self.inner.set_life(node, Life::Paused);
        }
    }

    /// Lets a node that hangs go on. It executes the writes that the other nodes sent to it meanwhile, as a process
    /// does that was stopped: they waited in its connections. No effect on a node that does not hang.
    pub async fn resume(&self, node: usize) {
        let from = self.inner.pulse(node);
        if from.life == Life::Paused {
            self.inner.come_back(node, from).await;
        }
    }

    /// Whether a node is neither dead nor hanging.
    #[must_use]
    pub fn is_live(&self, node: usize) -> bool {
        self.inner.is_live(node)
    }

    /// Whether all nodes are live.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        (0..NODES).all(|node| self.is_live(node))
    }

    /// Has a node die at the next write of a document that it receives from a client.
    pub fn die_at(&self, node: usize, moment: Moment) {
        self.schedule(Death::of_coordinator(node, moment));
    }

    /// Has a node die at a write.
    pub fn schedule(&self, death: Death) {
        self.inner.state().deaths.add(death);
    }

    /// Cancels the deaths that have not happened.
    pub fn clear_deaths(&self) {
        self.inner.state().deaths.clear();
    }

    /// How many scheduled deaths have happened.
    #[must_use]
    pub fn deaths(&self) -> u64 {
        self.inner.state().deaths.happened
    }

    /// Keeps a node out of replication, also when it comes back, until [`Cluster::release_sync`]. It still takes part
    /// in reads and writes.
    pub fn hold_sync(&self, node: usize) {
        self.inner.state().held[node] = true;
    }

    /// Lets a node replicate again.
    pub fn release_sync(&self, node: usize) {
        self.inner.state().held[node] = false;
    }

    /// Replicates until all live nodes hold the same trees. Documents that replication leaves different are read, as a client
    /// does.
    ///
    /// # Panics
    /// When a live node is kept out of replication, or when the trees stay different.
    pub async fn sync_all(&self) {
        let held = self.inner.state().held;
        let out: Vec<usize> = (0..NODES)
            .filter(|node| held[*node] && self.is_live(*node))
            .collect();
        assert!(out.is_empty(), "the nodes {out:?} do not replicate");
        eventually("the nodes hold the same trees", async || {
            self.inner.replicate_all().await
        })
        .await;
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster")
            .field("urls", &self.urls())
            .finish_non_exhaustive()
    }
}
