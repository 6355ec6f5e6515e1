//! Whose a prefix or an instance's document is.

use std::collections::{HashMap, HashSet};

use couch::DbName;
use futures::TryStreamExt as _;

use crate::{error::Error, store::Store};

/// Who there is: instances, and operations at work. Read anew for every look.
#[derive(Debug, Default)]
pub(super) struct Owners {
    /// The prefixes of instances, as names of databases have them.
    prefixes: HashSet<String>,
    /// The prefixes of operations at work.
    busy_prefixes: HashSet<String>,
    /// The instances of operations at work.
    busy_instances: HashSet<String>,
    /// Which instances records and ended operations know for a prefix. Lists may lag, so these are read by
    /// id before the prefix is taken for lost.
    heard_of: HashMap<String, Vec<String>>,
}

impl Owners {
    /// Reads operations first and instances after: an operation that ends in between is seen at work, or
    /// its instance is seen.
    pub(super) async fn read(store: &Store) -> Result<Self, Error> {
        let mut owners = Self::default();
        let mut operations = std::pin::pin!(store.all_operations());
        while let Some(found) = operations.try_next().await? {
            let operation = found.body;
            let prefix = in_databases(&operation.prefix);
            if operation.phase.is_end() && !operation.open {
                owners.hear_of(prefix, operation.instance);
            } else {
                owners.busy_prefixes.insert(prefix);
                owners.busy_instances.insert(operation.instance);
            }
        }
        let mut records = std::pin::pin!(store.all_records());
        while let Some(record) = records.try_next().await? {
            owners.hear_of(in_databases(&record.body.prefix), record.id);
        }
        let mut instances = std::pin::pin!(store.all_owners());
        while let Some(instance) = instances.try_next().await? {
            owners.prefixes.insert(in_databases(instance.body.prefix()));
        }
        Ok(owners)
    }

    fn hear_of(&mut self, prefix: String, instance: String) {
        if !prefix.is_empty() {
            self.heard_of.entry(prefix).or_default().push(instance);
        }
    }

    /// Whether somebody has a prefix.
    pub(super) async fn have(&self, store: &Store, prefix: &str) -> Result<bool, Error> {
        if self.prefixes.contains(prefix) || self.busy_prefixes.contains(prefix) {
            return Ok(true);
        }
        for instance in self.heard_of.get(prefix).into_iter().flatten() {
            if self.is_alive(store, instance).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether an instance exists, or an operation is at work on it.
    pub(super) async fn is_alive(&self, store: &Store, instance: &str) -> Result<bool, Error> {
        Ok(self.busy_instances.contains(instance) || store.instance(instance).await?.is_some())
    }
}

/// A prefix as the names of databases have it.
fn in_databases(prefix: &str) -> String {
    // What cannot stand in a name has no databases.
    DbName::instance_prefix(prefix).unwrap_or_else(|_| prefix.to_lowercase())
}
