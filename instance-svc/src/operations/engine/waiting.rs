//! The queue of operations that wait for a turn, over all replicas, in the order of acceptance.
//!
//! Each replica keeps its own view: what it accepted itself is added at once, the rest comes from the last scan
//! of the database. The view may lag; the compare-and-set of the transition decides which replica starts an
//! operation.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use couch::{Document, Rev};
use tokio::{sync::watch, time::Instant};

use crate::domain::{operation::Operation, time::Time};

/// A position in the queue: the time of acceptance, then the id, which makes the order total.
type Position = (Time, String);

#[derive(Debug)]
struct Entry<W> {
    operation: Operation<W>,
    rev: Rev,
    /// When this replica learned of it.
    since: Instant,
    /// Whether this replica has accepted it, so that it is no document that a node of the database brought back.
    accepted_here: bool,
}

/// The first operation of the queue.
#[derive(Debug)]
pub(super) struct First<W> {
    pub(super) found: Document<Operation<W>>,
    /// Whether this replica has accepted it.
    pub(super) accepted_here: bool,
}

/// The queue, as this replica knows it.
#[derive(Debug)]
pub(super) struct Waiting<W> {
    entries: Mutex<BTreeMap<Position, Entry<W>>>,
    changed: watch::Sender<()>,
}

impl<W> Waiting<W> {
    pub(super) fn new() -> Self {
        Self {
            entries: Mutex::default(),
            changed: watch::Sender::new(()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Position, Entry<W>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    pub(super) fn contains(&self, id: &str) -> bool {
        self.lock().keys().any(|(_, known)| known == id)
    }

    /// Adds an operation that this replica accepted just now.
    pub(super) fn add(&self, id: String, operation: Operation<W>, rev: Rev) {
        let entry = Entry {
            operation,
            rev,
            since: Instant::now(),
            accepted_here: true,
        };
        self.lock().insert((entry.operation.created_at, id), entry);
        self.changed.send_replace(());
    }

    /// Removes an operation from the queue. Returns whether it was there.
    pub(super) fn remove(&self, id: &str) -> bool {
        let mut entries = self.lock();
        let before = entries.len();
        entries.retain(|(_, known), _| known != id);
        let was_there = entries.len() < before;
        drop(entries);
        if was_there {
            self.changed.send_replace(());
        }
        was_there
    }

    /// Updates the queue with the result of a database scan that began at `looked`. Returns the ids of the
    /// operations that no longer wait.
    pub(super) fn refresh(
        &self,
        looked: Instant,
        found: Vec<Document<Operation<W>>>,
    ) -> Vec<String> {
        let mut entries = self.lock();
        let mut fresh: BTreeMap<Position, Entry<W>> = found
            .into_iter()
            .map(|document| {
                let place = (document.body.created_at, document.id);
                let entry = Entry {
                    operation: document.body,
                    rev: document.rev,
                    since: looked,
                    accepted_here: false,
                };
                (place, entry)
            })
            .collect();
        let mut gone = Vec::new();
        for (place, entry) in std::mem::take(&mut *entries) {
            if let Some(known) = fresh.get_mut(&place) {
                known.accepted_here = entry.accepted_here;
                continue;
            }
            // An operation added after the scan began may be missing from its result.
            if entry.since >= looked {
                fresh.insert(place, entry);
            } else {
                gone.push(place.1);
            }
        }
        *entries = fresh;
        drop(entries);
        self.changed.send_replace(());
        gone
    }

    /// Removes and returns the first operation.
    pub(super) fn pop_first(&self) -> Option<First<W>> {
        let ((_, id), entry) = self.lock().pop_first()?;
        self.changed.send_replace(());
        Some(First {
            found: Document {
                id,
                rev: entry.rev,
                body: entry.operation,
            },
            accepted_here: entry.accepted_here,
        })
    }

    /// How many operations are ahead of this position.
    pub(super) fn position(&self, created_at: Time, id: &str) -> usize {
        self.lock()
            .keys()
            .take_while(|(other, other_id)| (*other, other_id.as_str()) < (created_at, id))
            .count()
    }

    /// Notifies of every change of the queue.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Waits until the queue is not empty.
    pub(super) async fn somebody(&self) {
        let mut changes = self.changes();
        while self.is_empty() {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use super::{Document, Instant, Operation, Rev, Time, Waiting};
    use crate::domain::operation::tests::{Toy, creation};

    fn at(second: i64) -> Time {
        Time::from_unix(second, 0).unwrap()
    }

    fn accepted_at(second: i64) -> Operation<Toy> {
        let mut operation = creation();
        operation.created_at = at(second);
        operation
    }

    fn document(id: &str, second: i64) -> Document<Operation<Toy>> {
        Document {
            id: id.to_owned(),
            rev: Rev::new("1-a"),
            body: accepted_at(second),
        }
    }

    #[test]
    fn the_queue_is_in_the_order_of_acceptance() {
        let queue = Waiting::new();
        queue.add("b".to_owned(), accepted_at(2), Rev::new("1-a"));
        queue.add("c".to_owned(), accepted_at(1), Rev::new("1-a"));
        queue.add("a".to_owned(), accepted_at(2), Rev::new("1-a"));
        assert_eq!(queue.position(at(2), "b"), 2);
        assert!(queue.pop_first().is_some_and(|first| first.found.id == "c"));
        assert_eq!(queue.position(at(2), "b"), 1);
        assert!(queue.remove("a") && !queue.remove("a"));
        assert_eq!(queue.position(at(2), "b"), 0);
    }

    #[test]
    fn a_scan_adds_and_removes_operations_but_keeps_newer_ones() {
        let queue = Waiting::new();
        queue.add("old".to_owned(), accepted_at(1), Rev::new("1-a"));
        let looked = Instant::now();
        queue.add("new".to_owned(), accepted_at(3), Rev::new("1-a"));
        let gone = queue.refresh(looked, vec![document("theirs", 2)]);
        assert_eq!(gone, ["old"]);
        assert!(queue.contains("theirs") && queue.contains("new"));
        assert_eq!(queue.position(at(3), "new"), 1);
    }
}
