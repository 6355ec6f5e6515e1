//! The transaction of a write, and the notification of its commit.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use rusqlite::Connection;
use tokio::sync::watch;

use super::index_def::IndexDef;

/// What a write can access: the connection, in an open SQLite transaction, and the caches of the writer.
pub(crate) struct Transaction<'a> {
    pub(crate) conn: &'a Connection,
    pub(crate) indexes: &'a mut HashMap<i64, Arc<Vec<IndexDef>>>,
    pub(super) touched: &'a mut HashSet<i64>,
}

impl Transaction<'_> {
    /// Notifies the feeds of this database after the commit.
    pub(crate) fn touch(&mut self, db: i64) {
        self.touched.insert(db);
    }
}

/// Notifies feeds of changed databases, and others of finished chores.
#[derive(Default)]
pub(crate) struct Notifier {
    databases: Mutex<HashMap<i64, watch::Sender<u64>>>,
    pub(super) chores: watch::Sender<u64>,
}

impl Notifier {
    /// A receiver that changes with each commit that touched the database.
    pub(crate) fn watch_database(&self, db: i64) -> watch::Receiver<u64> {
        let mut databases = self
            .databases
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        databases.entry(db).or_default().subscribe()
    }

    /// A receiver that changes with each finished chore.
    pub(crate) fn watch_chores(&self) -> watch::Receiver<u64> {
        self.chores.subscribe()
    }

    pub(super) fn notify(&self, touched: &HashSet<i64>) {
        if touched.is_empty() {
            return;
        }
        let mut databases = self
            .databases
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        databases.retain(|db, sender| {
            if touched.contains(db) {
                sender.send_modify(|n| *n += 1);
            }
            sender.receiver_count() > 0
        });
    }
}
