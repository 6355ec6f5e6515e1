//! Operations: `global/hamlet-operations`.

use couch::{ClaimOutcome as Claiming, Document, Exchange, Find, Rev, design::Index};
use futures::{Stream, TryStreamExt as _};
use serde_json::json;

use super::Store;
use crate::{domain::operation::Operation, error::Error};

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
pub enum Settled {
    /// There is one live leaf: this is the operation.
    One(Box<Document<Operation>>),
    /// Writers race for it: it is not told yet who wins.
    Contested,
    /// There is none.
    Missing,
}

impl Store {
    /// Writes down a new operation, unless there is one of that id already.
    ///
    /// # Errors
    /// When the database fails; it may then be written all the same.
    pub async fn accept(
        &self,
        id: &str,
        operation: &Operation,
    ) -> Result<Claiming<Operation>, couch::Error> {
        self.operations
            .claim(id, operation, |found: &Operation| {
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
    pub async fn operation(&self, id: &str) -> Result<Option<Document<Operation>>, couch::Error> {
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
        operation: &Operation,
    ) -> Result<Exchange, couch::Error> {
        self.operations.compare_and_set(id, rev, operation).await
    }

    /// The operations that somebody still has to look at, the oldest first. It may lag: who acts on one
    /// has to win its transition first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn open_operations(&self) -> Result<Vec<Document<Operation>>, couch::Error> {
        let query = Find::new(json!({"open": true, "created_at": {"$gt": null}}))
            .sort([couch::Sort::Ascending("created_at".to_owned())])
            .use_index("open", None);
        self.operations.find(query).try_collect().await
    }

    /// Reads an operation whose owner has lost a write: who wrote instead? A reading by id shows the leaf
    /// that wins for now, which may be one of a writer that has lost and steps back in a moment.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn settled_operation(&self, id: &str) -> Result<Settled, Error> {
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
    pub fn newest_operations(
        &self,
        until: Option<&str>,
        open: bool,
        page: usize,
    ) -> impl Stream<Item = Result<Document<Operation>, couch::Error>> + Send + use<> {
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
        self.operations.find(query)
    }

    /// The operations that were accepted at `until` or before, the oldest first.
    pub fn operations_until(
        &self,
        until: &str,
    ) -> impl Stream<Item = Result<Document<Operation>, couch::Error>> + Send + use<> {
        let query = Find::new(json!({"created_at": {"$lte": until}}))
            .sort([couch::Sort::Ascending("created_at".to_owned())])
            .use_index("by-created-at", None);
        self.operations.find(query)
    }

    /// Forgets an operation that has ended, if it is still at `rev`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn forget(&self, id: &str, rev: &Rev) -> Result<Exchange, couch::Error> {
        self.operations.compare_and_delete(id, rev).await
    }
}
