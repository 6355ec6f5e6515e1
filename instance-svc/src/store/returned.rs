//! Documents that a node of the database brings back after they were removed.

use couch::{ChangesQuery, Database, Since};

use super::Store;

/// How many changes are read at once.
const PAGE: usize = 1000;

/// The documents of a database whose trees have several leaves, as its feed of changes reports them.
#[derive(Debug)]
pub(crate) struct LeafFeed {
    database: Database,
    since: Since,
}

impl LeafFeed {
    const fn new(database: Database) -> Self {
        Self {
            database,
            since: Since::Beginning,
        }
    }

    /// The ids of the live documents with several leaves among the next changes; `None` when nothing has changed.
    ///
    /// # Errors
    /// When the database fails. The same changes are read again then.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<String>>, couch::Error> {
        let query = ChangesQuery::since(self.since.clone()).all_leaves();
        let (changes, next) = self.database.changes_page(&query, PAGE).await?;
        if changes.is_empty() {
            return Ok(None);
        }
        self.since = Since::Sequence(next);
        let several = changes.into_iter().filter(|change| {
            change.revs.len() > 1 && !change.deleted && !change.id.starts_with('_')
        });
        Ok(Some(several.map(|change| change.id).collect()))
    }

    /// Removes a document again that was removed for good.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) async fn remove_returned(&self, id: &str) -> Result<(), couch::Error> {
        // Several leaves may also be a race that is not decided yet.
        let _was_removed = self.database.remove_returned(id).await?;
        Ok(())
    }
}

impl Store {
    /// The feeds of the databases whose ids are never used again: instances, records and operations.
    pub(crate) fn feeds_of_unique_ids(&self) -> Vec<LeafFeed> {
        [&self.instances, &self.records, &self.operations]
            .map(|database| LeafFeed::new(database.clone()))
            .into()
    }

    /// The feed of the claims. A name may be claimed again.
    pub(crate) fn feed_of_claims(&self) -> LeafFeed {
        LeafFeed::new(self.claims.clone())
    }
}
