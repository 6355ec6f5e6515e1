//! The protocol for concurrent writers of one document, on a single node and on a cluster.
//!
//! It relies on properties of CouchDB that were measured on three nodes (`n=3`):
//!
//! - 201 means that a majority of the nodes took the write. Two concurrent writers never both get 201.
//! - 202 means that fewer nodes took the write. Another writer may have the majority. The leaf stays and may
//!   become the winner later.
//! - A quarter of the races of two writers end with 201 and 202. Sometimes three writers all get 202.
//! - A majority read sees every majority write. Both are CouchDB's defaults. A read of all leaves is answered by a
//!   majority whose leaves are the same, and otherwise by all nodes that can be reached.
//!
//! The functions of this module share these rules:
//!
//! - A writer owns the document only after it received a 201 itself. A writer that finds its own leaf, after a
//!   lost response or a crash, writes a successor of it and needs a 201 for that.
//! - A loser withdraws its own leaf with a marked tombstone, so that one live leaf remains.
//! - Pauses are random, so that writers that collided once do not collide again.

use futures::future::BoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::Instant;

use crate::database::Database;
use crate::document::{Document, Leaf, Rev, Write, encode};
use crate::error::{Call, Error, Result};
use crate::random::Random;

mod claim;
mod exchange;
mod removal;
#[cfg(test)]
mod simulation;

use claim::{claim, release};
use exchange::{Deletion, compare_and_delete, compare_and_set};
use removal::{remove_for_good, remove_returned};

/// The outcome of a claim.
#[must_use = "a claim can be lost"]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClaimOutcome<T> {
    /// The caller owns the document, at this revision.
    Won(Rev),
    /// Another claimant owns the document, which has this body.
    Taken(T),
}

/// The outcome of a compare-and-set.
#[must_use = "a compare-and-set can be lost"]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exchange {
    /// The write succeeded, with this revision.
    Won(Rev),
    /// The document had another revision, or another writer won.
    Lost,
}

/// One document in a store that behaves as CouchDB: the real one, or the model of the tests.
pub(crate) trait DocumentStore: Sync {
    fn put(&self, rev: Option<&Rev>, body: &Value) -> impl Future<Output = Result<Write>> + Send;
    fn delete(&self, rev: &Rev) -> impl Future<Output = Result<Write>> + Send;
    fn withdraw(&self, rev: &Rev) -> impl Future<Output = Result<Write>> + Send;
    /// Writes the tombstone of a removal for good, as the successor of `rev`.
    fn remove(&self, rev: &Rev) -> impl Future<Output = Result<Write>> + Send;
    /// Writes the mark of a removal for good beside the tree, and where it `is_alone` a tombstone that wins over it.
    /// Returns whether a majority of the nodes has it.
    fn mark(&self, is_alone: bool) -> impl Future<Output = Result<bool>> + Send;
    fn leaves(&self) -> impl Future<Output = Result<Vec<Leaf>>> + Send;
}

/// What a run of the protocol needs besides the store.
pub(crate) struct RaceContext<'a> {
    pub(crate) call: Call,
    pub(crate) random: &'a Random,
    pub(crate) deadline: Instant,
}

impl RaceContext<'_> {
    /// Sleeps for `from..=to` milliseconds. Fails with `last` if that would exceed the deadline.
    async fn pause(&self, from: u64, to: u64, last: &mut Option<Error>) -> Result<()> {
        let pause = self.random.millis(from, to);
        if Instant::now() + pause >= self.deadline {
            return Err(last.take().unwrap_or_else(|| Error::NoMajority {
                call: self.call.clone(),
            }));
        }
        tokio::time::sleep(pause).await;
        Ok(())
    }
}

/// Stores an error after which the protocol goes on in `last`, and returns any other.
fn keep_transient<T>(outcome: Result<T>, last: &mut Option<Error>) -> Result<Option<T>> {
    match outcome {
        Ok(done) => Ok(Some(done)),
        Err(error) if error.is_outcome_unknown() || error.is_retryable() => {
            *last = Some(error);
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Withdraws these leaves. A leaf whose withdrawal fails is found again by the next read.
async fn withdraw_all(
    store: &impl DocumentStore,
    leaves: &[&Leaf],
    last: &mut Option<Error>,
) -> Result<()> {
    for leaf in leaves {
        keep_transient(store.withdraw(&leaf.rev).await, last)?;
    }
    Ok(())
}

/// Withdraws other leaves of this writer, beside the one that won. If the nodes have different tombstones,
/// one write can create several leaves. A leaf that cannot be withdrawn now is harmless: it has the same
/// owner and is removed when the claim is released.
async fn withdraw_spares(
    store: &impl DocumentStore,
    won: &Rev,
    is_mine: &impl Fn(&Leaf) -> Result<bool>,
) -> Result<()> {
    let mut last = None;
    if let Some(leaves) = keep_transient(store.leaves().await, &mut last)? {
        let (mut mine, _) = partition(&leaves, is_mine)?;
        mine.retain(|leaf| leaf.rev != *won && !leaf.history.contains(won));
        withdraw_all(store, &mine, &mut last).await?;
    }
    Ok(())
}

/// The live leaves, separated into those of this writer and those of others.
fn partition<'l>(
    leaves: &'l [Leaf],
    is_mine: &impl Fn(&Leaf) -> Result<bool>,
) -> Result<(Vec<&'l Leaf>, Vec<&'l Leaf>)> {
    let mut mine = Vec::new();
    let mut others = Vec::new();
    for leaf in leaves.iter().filter(|leaf| !leaf.deleted) {
        if is_mine(leaf)? {
            mine.push(leaf);
        } else {
            others.push(leaf);
        }
    }
    Ok((mine, others))
}

/// The key by which CouchDB chooses the winner among live leaves: the generation, then the hash.
fn rank(rev: &Rev) -> (u64, &str) {
    let hash = rev.as_str().split_once('-').map_or("", |(_, hash)| hash);
    (rev.generation(), hash)
}

fn best_of<'l>(leaves: &[&'l Leaf]) -> Option<(&'l Leaf, Vec<&'l Leaf>)> {
    let best = *leaves.iter().max_by_key(|leaf| rank(&leaf.rev))?;
    let rest = leaves
        .iter()
        .filter(|leaf| leaf.rev != best.rev)
        .copied()
        .collect();
    Some((best, rest))
}

struct StoredDocument<'a> {
    database: &'a Database,
    id: &'a str,
}

impl DocumentStore for StoredDocument<'_> {
    async fn put(&self, rev: Option<&Rev>, body: &Value) -> Result<Write> {
        self.database.put(self.id, rev, body).await
    }
    async fn delete(&self, rev: &Rev) -> Result<Write> {
        self.database.delete(self.id, rev).await
    }
    async fn withdraw(&self, rev: &Rev) -> Result<Write> {
        self.database.withdraw(self.id, rev).await
    }
    async fn remove(&self, rev: &Rev) -> Result<Write> {
        self.database.write_removal(self.id, rev).await
    }
    async fn mark(&self, is_alone: bool) -> Result<bool> {
        self.database.write_mark(self.id, is_alone).await
    }
    async fn leaves(&self) -> Result<Vec<Leaf>> {
        self.database.leaves(self.id).await
    }
}

impl Database {
    fn race_context(&self, verb: &'static str) -> RaceContext<'_> {
        RaceContext {
            call: self.call(verb),
            random: &self.couch.transport.random,
            deadline: Instant::now() + self.couch.race_timeout,
        }
    }

    fn deserialize<T: DeserializeOwned>(call: &Call, body: &Value) -> Result<T> {
        serde_json::from_value(body.clone()).map_err(|source| Error::Corrupt {
            call: call.clone(),
            detail: "a document lacks fields of its type, or has them in another form".to_owned(),
            source: Some(source),
        })
    }

    /// Claims the document `id` for the caller. At most one of several concurrent claimants wins. After the
    /// nodes have replicated, only the leaf of the winner is alive. Idempotent: a claimant that already owns
    /// the document wins again, and `body` is written again.
    ///
    /// `body` must contain something that only this claimant writes, for example the id of an operation, by
    /// which `is_mine` recognizes it. A claimant that dies may leave its leaf. Anyone who knows that the
    /// claimant is gone may [`Database::release`] it.
    ///
    /// Takes at most the `race_timeout` of the settings and one more call.
    ///
    /// # Errors
    /// [`Error::NoMajority`] or the last transient error if the outcome is unknown. The caller may then own
    /// the document, and has to repeat or release the claim.
    pub async fn claim<T>(
        &self,
        id: &str,
        body: &T,
        is_mine: impl Fn(&T) -> bool + Send + Sync,
    ) -> Result<ClaimOutcome<T>>
    where
        T: Serialize + DeserializeOwned + Sync,
    {
        let context = self.race_context("claim document");
        let members = Value::Object(encode(&context.call, body)?);
        let document = StoredDocument { database: self, id };
        let mine = |leaf: &Leaf| Ok(is_mine(&Self::deserialize(&context.call, &leaf.body)?));
        match claim(&document, &context, &members, mine).await? {
            ClaimOutcome::Won(rev) => Ok(ClaimOutcome::Won(rev)),
            ClaimOutcome::Taken(body) => Ok(ClaimOutcome::Taken(Self::deserialize(
                &context.call,
                &body,
            )?)),
        }
    }

    /// Writes the successor of `rev`. At most one of several concurrent writers wins. After a lost response,
    /// this function finds out whether the write succeeded.
    ///
    /// `body` must differ from what any other writer may write as the successor of `rev`, for example by the
    /// id of the writer and a counter: a writer recognizes its own write by the body.
    ///
    /// Takes at most the `race_timeout` of the settings and one more call.
    ///
    /// # Errors
    /// [`Error::NoMajority`] or the last transient error if the outcome is unknown.
    pub async fn compare_and_set<T: Serialize + ?Sized + Sync>(
        &self,
        id: &str,
        rev: &Rev,
        body: &T,
    ) -> Result<Exchange> {
        let context = self.race_context("compare and set document");
        let members = Value::Object(encode(&context.call, body)?);
        self.compare_and_set_value(id, context, rev, members).await
    }

    /// Boxed, and not generic, so that it is compiled in this crate, once.
    fn compare_and_set_value<'a>(
        &'a self,
        id: &'a str,
        context: RaceContext<'a>,
        rev: &'a Rev,
        members: Value,
    ) -> BoxFuture<'a, Result<Exchange>> {
        Box::pin(async move {
            let document = StoredDocument { database: self, id };
            compare_and_set(&document, &context, rev, &members).await
        })
    }

    /// Deletes the document if it is still at `rev`. Two concurrent deletions may both win.
    ///
    /// # Errors
    /// As [`Database::compare_and_set`].
    pub async fn compare_and_delete(&self, id: &str, rev: &Rev) -> Result<Exchange> {
        let context = self.race_context("compare and delete document");
        let document = StoredDocument { database: self, id };
        compare_and_delete(&document, &context, rev, Deletion::Plain).await
    }

    /// Removes the document for good if it is still at `rev`, as [`Database::remove_for_good`] does whatever its
    /// revision. Only for a document that nobody needs any more: a removal that lost to another writer may leave its
    /// mark beside what that writer wrote.
    ///
    /// # Errors
    /// As [`Database::compare_and_set`].
    pub async fn compare_and_remove(&self, id: &str, rev: &Rev) -> Result<Exchange> {
        let context = self.race_context("compare and remove document");
        let document = StoredDocument { database: self, id };
        compare_and_delete(&document, &context, rev, Deletion::ForGood).await
    }

    /// Removes a document whose id is never used again: deletes every live leaf, and writes a mark beside the tree.
    /// A leaf that a node brings back later, because it was away, is known by the mark
    /// ([`Database::get_unless_removed`]), and so is one that a node writes later, because it hung. A document that does
    /// not exist gets a mark, too. Idempotent. Returns whether there was a live leaf.
    ///
    /// # Errors
    /// The last transient error if a live leaf may remain.
    pub async fn remove_for_good(&self, id: &str) -> Result<bool> {
        let context = self.race_context("remove document");
        remove_for_good(&StoredDocument { database: self, id }, &context).await
    }

    /// Reads the winning revision of a document whose id is never used again after its removal. If the document
    /// was [removed for good](Database::remove_for_good) and a node has brought a leaf back, that leaf is deleted
    /// and the result is `None`. Costs one request, and more only where leaves compete.
    ///
    /// # Errors
    /// As [`Database::get`], and when a leaf that returned cannot be deleted.
    pub async fn get_unless_removed<T: DeserializeOwned>(
        &self,
        id: &str,
    ) -> Result<Option<Document<T>>> {
        let Some((document, had_rivals)) = self.get_and_see_rivals(id).await? else {
            return Ok(None);
        };
        if had_rivals && self.remove_returned(id).await? {
            return Ok(None);
        }
        Self::deserialize(&self.call("get document"), &document.body)
            .map(|body| Some(document.map(|_| body)))
    }

    /// Deletes the leaves of a document that returned after it was
    /// [removed for good](Database::remove_for_good). Returns whether it was.
    ///
    /// # Errors
    /// When such a leaf cannot be deleted.
    pub async fn remove_returned(&self, id: &str) -> Result<bool> {
        let document = StoredDocument { database: self, id };
        let Some(returned) = remove_returned(&document).await? else {
            return Ok(false);
        };
        if returned > 0 {
            self.report_returned(id);
        }
        Ok(true)
    }

    /// Counts and logs a document that came back with a node of the database and is removed again.
    pub fn report_returned(&self, id: &str) {
        let database = self.name().as_str();
        metrics::counter!("hamlet_returned_documents_total", "database" => database.to_owned())
            .increment(1);
        tracing::warn!(
            database,
            id,
            "a document that was removed came back with a node of the database; it is removed again"
        );
    }

    /// Releases a claim: deletes every live leaf for which `is_mine` holds. Idempotent. Returns whether there
    /// was such a leaf.
    ///
    /// # Errors
    /// The last transient error if such a leaf may remain.
    pub async fn release<T: DeserializeOwned>(
        &self,
        id: &str,
        is_mine: impl Fn(&T) -> bool + Send + Sync,
    ) -> Result<bool> {
        let context = self.race_context("release document");
        let mine = |leaf: &Leaf| Ok(is_mine(&Self::deserialize(&context.call, &leaf.body)?));
        release(&StoredDocument { database: self, id }, &context, mine).await
    }
}
