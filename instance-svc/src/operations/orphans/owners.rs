//! The owners of prefixes and of documents of instances.

use std::collections::{HashMap, HashSet};

use couch::DbName;
use futures::TryStreamExt as _;

use crate::{error::Error, store::Store};

/// All owners: instances and running operations. Read anew for every check.
#[derive(Debug, Default)]
pub(super) struct Owners {
    /// The prefixes of instances, in the form used in names of databases.
    prefixes: HashSet<String>,
    /// The domains of instances and of running operations.
    domains: HashSet<String>,
    /// The prefixes of running operations.
    busy_prefixes: HashSet<String>,
    /// The instances of running operations.
    busy_instances: HashSet<String>,
    /// The instances that records and ended operations name for a prefix. Lists may lag, so these instances are
    /// read by id before the prefix counts as an orphan.
    heard_of: HashMap<String, Vec<String>>,
}

impl Owners {
    /// Reads the operations first and the instances after them: if an operation ends in between, either it is
    /// seen running or its instance is seen.
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
                owners.domains.insert(operation.domain);
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
            owners.domains.insert(instance.body.domain().to_owned());
        }
        Ok(owners)
    }

    fn hear_of(&mut self, prefix: String, instance: String) {
        if !prefix.is_empty() {
            self.heard_of.entry(prefix).or_default().push(instance);
        }
    }

    /// Whether a prefix has an owner.
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

    /// Whether an instance or a running operation has a domain.
    pub(super) fn have_domain(&self, domain: &str) -> bool {
        self.domains.contains(domain)
    }

    /// Whether an operation is running on an instance.
    pub(super) fn are_busy_with(&self, instance: &str) -> bool {
        self.busy_instances.contains(instance)
    }

    /// Whether an instance exists, or an operation is running on it.
    pub(super) async fn is_alive(&self, store: &Store, instance: &str) -> Result<bool, Error> {
        Ok(self.busy_instances.contains(instance) || store.instance(instance).await?.is_some())
    }
}

/// A prefix in the form used in names of databases.
pub(super) fn in_databases(prefix: &str) -> String {
    // A prefix that is invalid in a name has no databases.
    DbName::instance_prefix(prefix).unwrap_or_else(|_| prefix.to_lowercase())
}
