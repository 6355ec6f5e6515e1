//! Orphans: data that belongs to no instance and to no running operation.
//!
//! Every candidate is checked twice, with a pause in between. An operation that was just accepted, a lagging
//! list on a cluster, and other software that writes an instance's document after its databases all produce
//! apparent orphans for a moment. Candidates are read *before* the operations, and the operations before the
//! instances: whatever a creation made then belongs to its operation or to its instance.

mod owners;
mod removal;

pub use removal::OrphanWork;

use std::{collections::BTreeSet, time::Duration};

use couch::{Couch, DbName, Document};
use futures::{StreamExt as _, TryStreamExt as _, stream};

use self::owners::{Owners, in_databases};
use super::{Peers, peers::Contents};
use crate::{
    domain::{
        claim::Claim,
        orphan::{Orphan, OrphanKind},
        record::Record,
        removed::Removed,
    },
    error::Error,
    store::{
        Store,
        scan::{Owner, databases_by_prefix},
    },
};

/// How many prefixes are removed between two checks of their owners.
const AT_ONCE: usize = 100;

/// Finds and removes orphans.
#[derive(Clone, Debug)]
pub struct Orphans {
    pub(crate) store: Store,
    pub(crate) peers: Peers,
    /// The pause between the two checks.
    pub(crate) grace: Duration,
}

/// The kind of operation that removes orphans.
#[derive(Clone, Debug)]
pub struct OrphanRemoval(pub(crate) Orphans);

/// The databases under one prefix on one server.
#[derive(Debug)]
struct Databases {
    couch: Couch,
    prefix: String,
    names: Vec<String>,
}

impl Orphans {
    /// All orphans. Holds the names of databases and the prefixes of instances in memory.
    pub(crate) async fn list(&self) -> Result<Vec<Orphan>, Error> {
        let mut found = Vec::new();
        for lost in self.databases().await? {
            found.extend(lost.describe().await?);
        }
        for contents in self.contents().await? {
            found.push(Orphan {
                kind: OrphanKind::Contents,
                reason: nobody_has(&contents.prefix),
                count: contents.count(),
                name: contents.prefix,
            });
        }
        for record in self.records().await? {
            found.push(Orphan {
                kind: OrphanKind::Document,
                name: format!("global/hamlet-instances/{}", record.id),
                reason: format!(
                    "there is no instance {} ({}), and no operation at work on it",
                    record.id, record.body.domain
                ),
                count: 1,
            });
        }
        for bare in self.bare_instances().await? {
            found.push(Orphan {
                kind: OrphanKind::Document,
                name: format!("global/instances/{}", bare.id),
                reason: format!(
                    "the instance {} has no database, so that it is none",
                    bare.body.domain()
                ),
                count: 1,
            });
        }
        for claim in self.claims().await? {
            found.push(Orphan {
                kind: OrphanKind::Claim,
                name: claim.id,
                reason: format!(
                    "operations/{} claimed it for the instance {}; neither is there",
                    claim.body.operation, claim.body.instance
                ),
                count: 1,
            });
        }
        Ok(found)
    }

    /// The number of items that would be removed.
    pub(crate) async fn count(&self) -> Result<Removed, Error> {
        let mut count = Removed::default();
        for orphan in self.list().await? {
            match orphan.kind {
                OrphanKind::Database => count.databases += 1,
                OrphanKind::Claim => count.claims += 1,
                OrphanKind::Document => count.documents += 1,
                OrphanKind::Contents => count.objects += orphan.count,
            }
        }
        Ok(count)
    }

    /// The servers on which databases of instances may lie.
    fn couches(&self) -> impl Iterator<Item = &Couch> {
        self.store.clusters().iter()
    }

    async fn databases(&self) -> Result<Vec<Databases>, Error> {
        let mut seen = Vec::new();
        for couch in self.couches() {
            for (prefix, names) in databases_by_prefix(couch).await? {
                let couch = couch.clone();
                seen.push(Databases {
                    couch,
                    prefix,
                    names,
                });
            }
        }
        let prefixes = seen.iter().map(|it| it.prefix.clone()).collect();
        let lost = self.lost_for_long(prefixes).await?;
        seen.retain(|it| lost.contains(&it.prefix));
        Ok(seen)
    }

    async fn contents(&self) -> Result<Vec<Contents>, Error> {
        let mut seen = self.peers.contents(None, false).await?;
        let prefixes = seen.iter().map(|it| it.prefix.clone()).collect();
        let lost = self.lost_for_long(prefixes).await?;
        seen.retain(|it| lost.contains(&it.prefix));
        self.leave_used_domains(&mut seen).await?;
        Ok(seen)
    }

    /// Leaves out the folders of domains that an instance has now: only the prefix is an orphan.
    async fn leave_used_domains(&self, seen: &mut [Contents]) -> Result<(), Error> {
        if seen.iter().all(|it| it.domain.is_empty()) {
            return Ok(());
        }
        let owners = Owners::read(&self.store).await?;
        for contents in seen {
            if owners.have_domain(&contents.domain) {
                contents.domain.clear();
                contents.domain_files = 0;
            }
        }
        Ok(())
    }

    async fn records(&self) -> Result<Vec<Document<Record>>, Error> {
        let all = self.store.all_records();
        let mut seen: Vec<_> = all
            .try_filter_map(|record| async move {
                let lost = self.store.instance(&record.id).await?.is_none();
                Ok(lost.then_some(record))
            })
            .try_collect()
            .await?;
        self.keep_lost(&mut seen, |record| &record.id).await?;
        if seen.is_empty() {
            return Ok(seen);
        }
        tokio::time::sleep(self.grace).await;
        self.keep_lost(&mut seen, |record| &record.id).await?;
        Ok(seen)
    }

    async fn claims(&self) -> Result<Vec<Document<Claim>>, Error> {
        let all = self.store.all_claims();
        let mut seen: Vec<_> = all
            .try_filter_map(|claim| async move {
                let lost = self.store.instance(&claim.body.instance).await?.is_none();
                Ok(lost.then_some(claim))
            })
            .try_collect()
            .await?;
        self.keep_lost(&mut seen, |claim| &claim.body.instance)
            .await?;
        if seen.is_empty() {
            return Ok(seen);
        }
        tokio::time::sleep(self.grace).await;
        self.keep_lost(&mut seen, |claim| &claim.body.instance)
            .await?;
        Ok(seen)
    }

    /// The documents of instances without any database. One may have come back with a node of the database after
    /// version 0.1.0 destroyed the instance, or its databases were lost.
    async fn bare_instances(&self) -> Result<Vec<Document<Owner>>, Error> {
        let seen = self.without_databases().await?;
        if seen.is_empty() {
            return Ok(seen);
        }
        tokio::time::sleep(self.grace).await;
        let mut still = self.without_databases().await?;
        still.retain(|it| seen.iter().any(|seen| seen.id == it.id));
        let mut bare = Vec::new();
        for document in still {
            // A list may show one that is gone.
            if self.store.instance(&document.id).await?.is_some() {
                bare.push(document);
            }
        }
        Ok(bare)
    }

    async fn without_databases(&self) -> Result<Vec<Document<Owner>>, Error> {
        // The operations are read first: an instance that one of them was still creating is left alone.
        let owners = Owners::read(&self.store).await?;
        let mut found: Vec<_> = self.store.all_owners().try_collect().await?;
        let mut prefixes = BTreeSet::new();
        for couch in self.couches() {
            prefixes.extend(databases_by_prefix(couch).await?.into_keys());
        }
        found.retain(|document| {
            let prefix = in_databases(document.body.prefix());
            !prefixes.contains(&prefix) && !owners.are_busy_with(&document.id)
        });
        Ok(found)
    }

    /// Keeps those documents of instances whose instance does not exist and has no running operation.
    async fn keep_lost<T>(
        &self,
        seen: &mut Vec<Document<T>>,
        instance: impl Fn(&Document<T>) -> &str,
    ) -> Result<(), Error> {
        if seen.is_empty() {
            return Ok(());
        }
        let owners = Owners::read(&self.store).await?;
        let mut lost = Vec::new();
        for document in seen.drain(..) {
            if !owners.is_alive(&self.store, instance(&document)).await? {
                lost.push(document);
            }
        }
        *seen = lost;
        Ok(())
    }

    /// Keeps those prefixes that have no owner, now and after the pause.
    async fn lost_for_long(&self, prefixes: BTreeSet<String>) -> Result<BTreeSet<String>, Error> {
        let lost = self.lost(prefixes).await?;
        if lost.is_empty() {
            return Ok(lost);
        }
        tokio::time::sleep(self.grace).await;
        self.lost(lost).await
    }

    /// Keeps those prefixes that have no owner.
    async fn lost(&self, prefixes: BTreeSet<String>) -> Result<BTreeSet<String>, Error> {
        if prefixes.is_empty() {
            return Ok(prefixes);
        }
        let owners = Owners::read(&self.store).await?;
        let mut lost = BTreeSet::new();
        for prefix in prefixes {
            if !owners.have(&self.store, &prefix).await? {
                lost.insert(prefix);
            }
        }
        Ok(lost)
    }
}

impl Databases {
    /// Describes each database as an orphan, with its number of documents.
    async fn describe(&self) -> Result<Vec<Orphan>, Error> {
        let names = self.names().collect::<Result<Vec<_>, _>>()?;
        let infos = self.couch.database_infos(&names).await?;
        let orphans = names.into_iter().filter_map(|name| {
            let info = infos.get(&name)?;
            Some(Orphan {
                kind: OrphanKind::Database,
                name: name.as_str().to_owned(),
                reason: nobody_has(&self.prefix),
                count: info.doc_count,
            })
        });
        Ok(orphans.collect())
    }

    /// Removes the databases. Returns how many there were.
    async fn remove(&self) -> Result<u64, Error> {
        stream::iter(self.names())
            .map(|name| async move {
                let removal = self.couch.delete_database(&name?).await?;
                Ok::<_, Error>(u64::from(removal == couch::Removal::Deleted))
            })
            .buffer_unordered(8)
            .try_fold(0, |sum, one| std::future::ready(Ok(sum + one)))
            .await
    }

    fn names(&self) -> impl Iterator<Item = Result<DbName, couch::Error>> {
        self.names.iter().map(DbName::new)
    }
}

fn nobody_has(prefix: &str) -> String {
    format!("no instance and no operation at work has the prefix {prefix}")
}
