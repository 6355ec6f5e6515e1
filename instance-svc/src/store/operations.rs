//! Operations: `global/hamlet-operations`.

use std::marker::PhantomData;

use couch::{
    AllDocs, ClaimOutcome, Clusters, Database, DbName, Document, Exchange, Find, Rev, design::Index,
};
use futures::{Stream, TryStreamExt as _};
use serde_json::{Value, json};

use super::Store;
use crate::{
    domain::{
        operation::{Envelope, Operation, Work},
        time::Time,
    },
    error::Error,
};

/// Selects the operations that need attention.
pub(super) const OPEN_OPERATIONS: Index = Index::new(
    "open",
    "8181d20eec946f330549459eed128ae3a70bee8b",
    &["created_at"],
)
.only_where(|| json!({"open": true}), || json!({"open": {"$eq": true}}));

/// Lists the operations by the time of their acceptance.
pub(super) const OPERATIONS_BY_TIME: Index = Index::new(
    "by-created-at",
    "be3e58282956584764cbe91f81a5824eee278c60",
    &["created_at"],
);

/// Selects the operations with work that falls due: soft deletions, whose instances are destroyed at a set
/// time.
pub(super) const DUE_OPERATIONS: Index = Index::new("due", "due", &["look_again"]);

/// An operation, as all leaves of its document show it.
#[derive(Debug)]
pub enum Settled<W> {
    /// There is one live leaf, which holds this operation.
    One(Box<Document<Operation<W>>>),
    /// There are several live leaves: writers race, and the winner is not decided yet.
    Contested,
    /// There is no live leaf.
    Missing,
}

/// The name of the database, below `global/`.
pub(super) const DATABASE: &str = "hamlet-operations";

/// The operations, with their work.
#[derive(Clone, Debug)]
pub struct OperationLog<W> {
    operations: Database,
    work: PhantomData<fn() -> W>,
}

impl<W: Work> OperationLog<W> {
    /// The operations on these database servers. Sends nothing yet.
    ///
    /// # Errors
    /// Never in practice: the name is a constant.
    pub fn new(couch: &Clusters) -> Result<Self, couch::Error> {
        Ok(Self {
            operations: couch.global().database(&DbName::global(DATABASE)?),
            work: PhantomData,
        })
    }

    /// Writes a new operation, unless its id exists already.
    ///
    /// # Errors
    /// When the database fails; the operation may be written all the same.
    pub async fn accept(
        &self,
        id: &str,
        operation: &Operation<W>,
    ) -> Result<ClaimOutcome<Operation<W>>, couch::Error> {
        self.operations
            .claim(id, operation, |found: &Operation<W>| {
                found.instance == operation.instance
                    && found.arguments_mac == operation.arguments_mac
                    && found.phase == operation.phase
                    && found.created_at == operation.created_at
            })
            .await
    }

    /// Reads an operation. One that was forgotten, and came back with a node of the database, is removed again.
    pub async fn read(&self, id: &str) -> Result<Option<Document<Operation<W>>>, couch::Error> {
        self.operations.get_unless_removed(id).await
    }

    /// The ids that begin so; two at most. Operations that are gone again may be among them.
    pub async fn ids_beginning(&self, prefix: &str) -> Result<Vec<String>, couch::Error> {
        let rows = self.operations.all_docs(AllDocs::prefix(prefix).limit(2));
        rows.map_ok(|row| row.id).try_collect().await
    }

    /// Makes a transition: replaces an operation, if it is still at `rev`.
    ///
    /// # Errors
    /// When the database fails; the write may have succeeded all the same.
    pub async fn transition(
        &self,
        id: &str,
        rev: &Rev,
        operation: &Operation<W>,
    ) -> Result<Exchange, couch::Error> {
        self.operations.compare_and_set(id, rev, operation).await
    }

    /// The operations that need attention, the oldest first. The list may lag: whoever acts on an operation has
    /// to win its transition first.
    pub async fn open(&self) -> Result<Vec<Document<Operation<W>>>, couch::Error> {
        let query = Find::new(json!({"open": true, "created_at": {"$gt": null}}))
            .sort([couch::Sort::Ascending("created_at".to_owned())])
            .use_index("open", None);
        self.find(query).try_collect().await
    }

    /// The ended operations with work that is due at `now`.
    pub async fn due(&self, now: Time) -> Result<Vec<Document<Operation<W>>>, couch::Error> {
        let query =
            Find::new(json!({"look_again": {"$lte": now}, "open": false})).use_index("due", None);
        self.find(query).try_collect().await
    }

    /// Finds operations. One that cannot be read is skipped: in a rolling restart it may be of a kind that only
    /// a newer version knows.
    fn find(
        &self,
        query: Find,
    ) -> impl Stream<Item = Result<Document<Operation<W>>, couch::Error>> + Send + use<W> {
        self.operations
            .find::<Value>(query)
            .try_filter_map(|found| std::future::ready(Ok(readable(found))))
    }

    /// Reads all leaves of an operation, after a lost write of its owner, to find out who wrote instead. A read
    /// by id shows only the currently winning leaf, which may be that of a losing writer that removes it in a
    /// moment.
    pub async fn settled(&self, id: &str) -> Result<Settled<W>, Error> {
        let leaves = self.operations.leaves(id).await?;
        let mut alive = leaves.into_iter().filter(|leaf| !leaf.deleted);
        Ok(match (alive.next(), alive.next()) {
            (None, _) => Settled::Missing,
            (Some(_), Some(_)) => Settled::Contested,
            (Some(leaf), None) => Settled::One(Box::new(Document {
                id: id.to_owned(),
                rev: leaf.rev,
                body: serde_json::from_value(leaf.body)?,
            })),
        })
    }

    /// Operations, the newest first, beginning with those accepted at `until` (without it, all); with `open`,
    /// only those that need attention. Pages are read as the stream is consumed.
    pub fn newest(
        &self,
        until: Option<Time>,
        open: bool,
        page: usize,
    ) -> impl Stream<Item = Result<Document<Operation<W>>, couch::Error>> + Send + use<W> {
        let created_at = match until {
            Some(until) => json!({"$lte": until}),
            None => json!({"$gt": null}),
        };
        let (selector, index) = if open {
            (json!({"open": true, "created_at": created_at}), "open")
        } else {
            (json!({"created_at": created_at}), "by-created-at")
        };
        let query = Find::new(selector)
            .sort([couch::Sort::Descending("created_at".to_owned())])
            .use_index(index, None)
            .page_size(page);
        self.find(query)
    }

    /// The operations that were accepted at `until` or before, the oldest first.
    pub fn accepted_until(
        &self,
        until: Time,
    ) -> impl Stream<Item = Result<Document<Operation<W>>, couch::Error>> + Send + use<W> {
        let query = Find::new(json!({"created_at": {"$lte": until}}))
            .sort([couch::Sort::Ascending("created_at".to_owned())])
            .use_index("by-created-at", None);
        self.find(query)
    }

    /// Deletes an operation that was refused after it was written, if it is still at `rev`. Another replica may be
    /// driving it by now, so the tombstone has no mark: a deletion that lost must not remove what won.
    pub async fn take_back(&self, id: &str, rev: &Rev) -> Result<Exchange, couch::Error> {
        self.operations.compare_and_delete(id, rev).await
    }

    /// Removes an ended operation for good, if it is still at `rev`. Nobody drives it.
    pub async fn forget(&self, id: &str, rev: &Rev) -> Result<Exchange, couch::Error> {
        self.operations.compare_and_remove(id, rev).await
    }
}

#[cfg(test)]
impl<W> OperationLog<W> {
    /// Writes a document that need not be an operation.
    pub(crate) async fn write_raw(&self, id: &str, body: &Value) {
        let written = self.operations.claim(id, body, |_: &Value| false).await;
        assert!(matches!(written, Ok(ClaimOutcome::Won(_))));
    }
}

fn readable<W: Work>(found: Document<Value>) -> Option<Document<Operation<W>>> {
    let Document { id, rev, body } = found;
    match serde_json::from_value(body) {
        Ok(body) => Some(Document { id, rev, body }),
        Err(error) => {
            tracing::debug!(
                operation = id,
                error = &error as &dyn std::error::Error,
                "an operation of an unknown kind is left alone"
            );
            None
        }
    }
}

impl Store {
    /// Reads an operation without its work, as [`OperationLog::read`].
    pub async fn operation(&self, id: &str) -> Result<Option<Document<Envelope>>, couch::Error> {
        self.operations.get_unless_removed(id).await
    }
}
