//! Documents that a node of the database brings back after they were removed.

use std::collections::BTreeSet;

use couch::{ChangesQuery, Database, Since};

use super::Store;

/// How many changes are read at once.
const PAGE: usize = 1000;

/// The documents of a database whose trees have several leaves, as its feed of changes reports them.
#[derive(Debug)]
pub(crate) struct LeafFeed {
    database: Database,
    since: Since,
    /// Whether documents that were written anew after a deletion are reported, too, once the first call is over.
    reports_renewed: bool,
    /// Documents that were reported and not looked at yet.
    reported: BTreeSet<String>,
}

/// A document that has been deleted once has this generation when it is written again.
const RENEWED: u64 = 3;

impl LeafFeed {
    const fn new(database: Database, reports_renewed: bool) -> Self {
        Self {
            database,
            since: Since::Beginning,
            reports_renewed,
            reported: BTreeSet::new(),
        }
    }

    /// Reads the changes since the last call. Returns the ids of the live documents with several leaves, and of those that
    /// were written anew if the feed is of that kind. Changes made
    /// during the read may be left for the next call, so that it ends also under load.
    ///
    /// # Errors
    /// When the database fails. The rest is read by the next call.
    pub(crate) async fn read(&mut self) -> Result<BTreeSet<String>, couch::Error> {
        let with_renewed = self.reports_renewed && !matches!(self.since, Since::Beginning);
        loop {
            let query = ChangesQuery::since(self.since.clone()).all_leaves();
            let (changes, next) = self.database.changes_page(&query, PAGE).await?;
            self.since = Since::Sequence(next);
            let is_last = changes.len() < PAGE;
            let reported = changes.into_iter().filter(|change| {
                let is_renewed = || change.revs.iter().any(|rev| rev.generation() >= RENEWED);
                !change.deleted
                    && !change.id.starts_with('_')
                    && (change.revs.len() > 1 || (with_renewed && is_renewed()))
            });
            self.reported.extend(reported.map(|change| change.id));
            if is_last {
                return Ok(std::mem::take(&mut self.reported));
            }
        }
    }

    /// Reads the changes since the last call, and removes again what was removed for good.
    ///
    /// # Errors
    /// When the database fails. The next call goes on.
    pub(crate) async fn remove_returned(&mut self) -> Result<(), couch::Error> {
        self.reported = self.read().await?;
        while let Some(id) = self.reported.first() {
            // Several leaves may also be a race that is not decided yet.
            let _was_removed = self.database.remove_returned(id).await?;
            self.reported.pop_first();
        }
        Ok(())
    }
}

impl Store {
    /// The feeds of the databases whose ids are never used again: instances, records and operations.
    pub(crate) fn feeds_of_unique_ids(&self) -> Vec<LeafFeed> {
        [&self.instances, &self.records, &self.operations]
            .map(|database| LeafFeed::new(database.clone(), false))
            .into()
    }

    /// The feed of the claims. A name may be claimed again, by a node that hung, too.
    pub(crate) fn feed_of_claims(&self) -> LeafFeed {
        LeafFeed::new(self.claims.clone(), true)
    }
}
