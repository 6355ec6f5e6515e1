//! Changes of the answers about hosts, for gateways that keep answers.
//!
//! A replica that somebody watches follows the feeds of three databases: claims, instances and records. What it reads
//! goes into a bounded ring, and from there to its watchers, within milliseconds. A change says whose answers are
//! outdated and nothing else: the new answer is a question away, and is read by id.
//!
//! A feed can hang without an error, and on a cluster it may lag. So the replica writes a marker to each of the
//! databases every few seconds, and tells its watchers that they know everything only while the markers come through.
//!
//! Without watchers, the replica reads and writes nothing.

mod feeds;
mod proof;
mod ring;
mod stream;

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use couch::DocId;
use tokio::{sync::watch, time::Duration};

use self::{proof::Proof, ring::Ring};
pub(crate) use self::{ring::Position, stream::Notice};
use crate::{domain::outdated::Outdated, store::HOST_FEEDS};

/// How often a marker is written to each database.
const MARKER_EVERY: Duration = Duration::from_secs(5);
/// How long a marker may take through the feed.
const LAG: Duration = Duration::from_secs(1);
/// How old a proof may be. So a feed that hangs is noticed after as long at most.
const PROOF_LIFE: Duration = MARKER_EVERY.saturating_add(LAG);
/// How often watchers are told that they know everything.
const HEARTBEAT_EVERY: Duration = Duration::from_millis(200);
/// How long the feeds are followed after the last watcher has gone: it may come back and continue.
const LINGER: Duration = Duration::from_secs(60);
/// How many changes are kept. A watcher that is further behind begins anew.
const KEPT: usize = 16_384;

/// The changes, as this replica has read them. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct HostChanges(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// The id of this replica's markers.
    writer: String,
    /// How many markers were written to each database.
    markers: AtomicU64,
    ring: Mutex<Ring>,
    proof: Mutex<Proof<HOST_FEEDS>>,
    reading: watch::Sender<Reading>,
    watchers: watch::Sender<usize>,
}

/// How far this replica has read.
#[derive(Clone, Copy, Debug, Default)]
struct Reading {
    /// The present run. `None` while a feed has not begun.
    run: Option<u64>,
    /// How many changes it has read.
    end: u64,
}

impl Default for HostChanges {
    fn default() -> Self {
        Self(Arc::new(Inner {
            writer: DocId::ascending().into_string(),
            markers: AtomicU64::new(0),
            ring: Mutex::new(Ring::new(KEPT)),
            proof: Mutex::default(),
            reading: watch::Sender::default(),
            watchers: watch::Sender::default(),
        }))
    }
}

impl Inner {
    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn proof(&self) -> MutexGuard<'_, Proof<HOST_FEEDS>> {
        self.proof.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The watchers are told of these changes.
    fn publish(&self, changes: Vec<Outdated>) {
        if changes.is_empty() {
            return;
        }
        let end = {
            let mut ring = self.ring();
            changes.into_iter().for_each(|change| ring.push(change));
            ring.end()
        };
        self.reading
            .send_modify(|reading| reading.end = reading.end.max(end));
    }

    /// All feeds of a run have begun.
    fn begin(&self, run: u64) {
        self.reading.send_modify(|reading| reading.run = Some(run));
    }

    /// The present run has ended. What is read next does not follow it without a gap.
    fn end(&self) {
        *self.proof() = Proof::default();
        self.reading.send_modify(|reading| reading.run = None);
    }

    fn next_marker(&self) -> u64 {
        self.markers.fetch_add(1, Ordering::Relaxed) + 1
    }
}
