//! Operations: `global/hamlet-operations`.

use std::marker::PhantomData;

use couch::{
    ClaimOutcome, Clusters, Database, DbName, Document, Exchange, Find, Rev, design::Index,
};
use futures::{Stream, TryStreamExt as _};
use serde_json::{Value, json};

use super::Store;
use crate::{
    domain::operation::{Envelope, Operation, Work},
    error::Error,
};

/// Finds the operations that somebody still has to look at.
pub(super) const OPEN_OPERATIONS: Index = Index::new(
    "open",
    "8181d20eec946f330549459eed128ae3a70bee8b",
    &["created_at"],
)
.only_where(|| json!({"open": true}), || json!({"open": {"$eq": true}}));

/// Finds operations in the order of acceptance.
pub(super) const OPERATIONS_BY_TIME: Index = Index::new(
    "by-created-at",
    "be3e58282956584764cbe91f81a5824eee278c60",
    &["created_at"],
);

/// Finds the operations whose instances are to be destroyed at a time: those that deleted them softly.
pub(super) const DUE_OPERATIONS: Index = Index::new("due", "due", &["look_again"]);

/// An operation as all of its leaves tell it.
#[derive(Debug)]
pub enum Settled<W> {
    /// There is one live leaf: this is the operation.
    One(Box<Document<Operation<W>>>),
    /// Writers race for it: it is not told yet who wins.
    Contested,
    /// There is none.
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
    /// The log on these database servers. Nothing is sent yet.
    ///
    /// # Errors
    /// Never in practice: the name is a constant.
    pub fn new(couch: &Clusters) -> Result<Self, couch::Error> {
        Ok(Self {
            operations: couch.global().database(&DbName::global(DATABASE)?),
            work: PhantomData,
        })
    }

    /// Writes down a new operation, unless there is one of that id already.
    ///
    /// # Errors
    /// When the database fails; it may then be written all the same.
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

    /// Reads an operation.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn read(&self, id: &str) -> Result<Option<Document<Operation<W>>>, couch::Error> {
        self.operations.get(id).await
    }

    /// A transition: replaces an operation, if it is still at `rev`.
    ///
    /// # Errors
    /// When the database fails and it stays open who won.
    pub async fn transition(
        &self,
        id: &str,
        rev: &Rev,
        operation: &Operation<W>,
    ) -> Result<Exchange, couch::Error> {
        self.operations.compare_and_set(id, rev, operation).await
    }

    /// The operations that somebody still has to look at, the oldest first. It may lag: who acts on one
    /// has to win its transition first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn open(&self) -> Result<Vec<Document<Operation<W>>>, couch::Error> {
        let query = Find::new(json!({"open": true, "created_at": {"$gt": null}}))
            .sort([couch::Sort::Ascending("created_at".to_owned())])
            .use_index("open", None);
        self.find(query).try_collect().await
    }

    /// The operations that have ended and whose time has come at `now`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn due(&self, now: &str) -> Result<Vec<Document<Operation<W>>>, couch::Error> {
        let query =
            Find::new(json!({"look_again": {"$lte": now}, "open": false})).use_index("due", None);
        self.find(query).try_collect().await
    }

    /// Finds operations. One that cannot be read is left to whoever knows its kind: a newer version, in a
    /// rolling restart.
    fn find(
        &self,
        query: Find,
    ) -> impl Stream<Item = Result<Document<Operation<W>>, couch::Error>> + Send + use<W> {
        self.operations
            .find::<Value>(query)
            .try_filter_map(|found| std::future::ready(Ok(readable(found))))
    }

    /// Reads an operation whose owner has lost a write: who wrote instead? A reading by id shows the leaf
    /// that wins for now, which may be one of a writer that has lost and steps back in a moment.
    ///
    /// # Errors
    /// When the database fails.
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

    /// Operations, the newest first, from those accepted at `until` (all without it); only those that
    /// somebody still has to look at, with `open`. They are read by pages, as far as they are asked for.
    pub fn newest(
        &self,
        until: Option<&str>,
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
        until: &str,
    ) -> impl Stream<Item = Result<Document<Operation<W>>, couch::Error>> + Send + use<W> {
        let query = Find::new(json!({"created_at": {"$lte": until}}))
            .sort([couch::Sort::Ascending("created_at".to_owned())])
            .use_index("by-created-at", None);
        self.find(query)
    }

    /// Forgets an operation that has ended, if it is still at `rev`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn forget(&self, id: &str, rev: &Rev) -> Result<Exchange, couch::Error> {
        self.operations.compare_and_delete(id, rev).await
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
                "an operation of a kind that is not known here is left alone"
            );
            None
        }
    }
}

impl Store {
    /// Reads an operation without its work.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn operation(&self, id: &str) -> Result<Option<Document<Envelope>>, couch::Error> {
        self.operations.get(id).await
    }
}
