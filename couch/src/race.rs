//! The protocol for writers who race for one document, on a cluster as on one node.
//!
//! What CouchDB promises was measured on three nodes (`n=3`): 201 means that a majority took the
//! write, and no two racing writers are ever both answered 201; 202 means that fewer did, while
//! another writer may have the majority, and that the leaf written so stays and may later win. Of
//! races between two writers a quarter ends with `201, 202`, and now and then three writers are all
//! answered 202. Majority writes and majority reads (CouchDB's defaults) meet.
//!
//! From this follow the rules that all functions here share:
//!
//! - Only a 201 that this writer was given itself makes it the owner. A writer that finds its own
//!   leaf (after a lost answer, or a crash) writes once more over it, and needs a 201 for that.
//! - Who loses takes its own leaf back, with a marked tombstone, so that one live leaf remains.
//! - Pauses are random, so that writers who met once do not meet again.

use futures::future::BoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::Instant;

use crate::database::Database;
use crate::document::{Leaf, Rev, Write, encode};
use crate::error::{Call, Error, Result};
use crate::pause::Dice;

mod claim;
mod exchange;
#[cfg(test)]
mod simulation;

use claim::{claim, release};
use exchange::{compare_and_delete, compare_and_set};

/// What became of a claim.
#[must_use = "a claim can be lost"]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim<T> {
    /// The document is ours, at this revision.
    Won(Rev),
    /// It is somebody else's: what lies there.
    Taken(T),
}

/// What became of a compare-and-set.
#[must_use = "a compare-and-set can be lost"]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exchange {
    /// Our write stands, at this revision.
    Won(Rev),
    /// The document had moved on, or another writer won.
    Lost,
}

/// One document's place in a store that answers as CouchDB does: the real one, or a model.
pub(crate) trait Store: Sync {
    fn put(&self, rev: Option<&Rev>, body: &Value) -> impl Future<Output = Result<Write>> + Send;
    fn delete(&self, rev: &Rev) -> impl Future<Output = Result<Write>> + Send;
    fn withdraw(&self, rev: &Rev) -> impl Future<Output = Result<Write>> + Send;
    fn leaves(&self) -> impl Future<Output = Result<Vec<Leaf>>> + Send;
}

/// What a run of the protocol needs beside the store.
pub(crate) struct Terms<'a> {
    pub(crate) call: Call,
    pub(crate) dice: &'a Dice,
    pub(crate) deadline: Instant,
}

impl Terms<'_> {
    /// Waits for a random time; fails with `last` when that is later than the deadline.
    async fn pause(&self, from: u64, to: u64, last: &mut Option<Error>) -> Result<()> {
        let pause = self.dice.millis(from, to);
        if Instant::now() + pause >= self.deadline {
            return Err(last.take().unwrap_or_else(|| Error::NoMajority {
                call: self.call.clone(),
            }));
        }
        tokio::time::sleep(pause).await;
        Ok(())
    }
}

/// Keeps an error that leaves the outcome open, and gives back any other.
fn keep_if_open<T>(outcome: Result<T>, last: &mut Option<Error>) -> Result<Option<T>> {
    match outcome {
        Ok(done) => Ok(Some(done)),
        Err(error) if error.is_outcome_unknown() || error.is_retryable() => {
            *last = Some(error);
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Takes back those leaves. One whose removal is not answered is met again by whoever reads next.
async fn withdraw_all(
    store: &impl Store,
    leaves: &[&Leaf],
    last: &mut Option<Error>,
) -> Result<()> {
    for leaf in leaves {
        keep_if_open(store.withdraw(&leaf.rev).await, last)?;
    }
    Ok(())
}

/// Takes back what earlier attempts have left beside the leaf that won: over tombstones that differ
/// from node to node one write can make several leaves. One that cannot be reached now does no harm:
/// it is its owner's, and goes when the claim is released.
async fn withdraw_spares(
    store: &impl Store,
    won: &Rev,
    is_mine: &impl Fn(&Leaf) -> Result<bool>,
) -> Result<()> {
    let mut last = None;
    if let Some(leaves) = keep_if_open(store.leaves().await, &mut last)? {
        let (mut mine, _) = part(&leaves, is_mine)?;
        mine.retain(|leaf| leaf.rev != *won && !leaf.history.contains(won));
        withdraw_all(store, &mine, &mut last).await?;
    }
    Ok(())
}

/// The live leaves, ours and the others'.
fn part<'l>(
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

/// `CouchDB`'s order of live leaves: the longest history first, then the greater hash.
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

struct Place<'a> {
    database: &'a Database,
    id: &'a str,
}

impl Store for Place<'_> {
    async fn put(&self, rev: Option<&Rev>, body: &Value) -> Result<Write> {
        self.database.put(self.id, rev, body).await
    }
    async fn delete(&self, rev: &Rev) -> Result<Write> {
        self.database.delete(self.id, rev).await
    }
    async fn withdraw(&self, rev: &Rev) -> Result<Write> {
        self.database.withdraw(self.id, rev).await
    }
    async fn leaves(&self) -> Result<Vec<Leaf>> {
        self.database.leaves(self.id).await
    }
}

impl Database {
    fn terms(&self, verb: &'static str) -> Terms<'_> {
        Terms {
            call: self.call(verb),
            dice: &self.couch.transport.dice,
            deadline: Instant::now() + self.couch.race_timeout,
        }
    }

    fn typed<T: DeserializeOwned>(call: &Call, body: &Value) -> Result<T> {
        serde_json::from_value(body.clone()).map_err(|source| Error::Corrupt {
            call: call.clone(),
            detail: "a document lacks fields of its type, or has them in another form".to_owned(),
            source: Some(source),
        })
    }

    /// Makes the document `id` ours, if nobody has it: at most one of all who call this wins, and
    /// when the nodes have told each other, only the winner's leaf lives. May be repeated, also after a crash: a claim
    /// that is already ours is won again (and written again with this `body`).
    ///
    /// `body` must hold something that only this claimant writes (an operation's id), by which
    /// `is_mine` knows it. A claimant that dies in the middle can leave its leaf: whoever meets a
    /// claim of somebody who is known to be gone may [`Database::release`] it.
    ///
    /// Takes at most `race_timeout` of the settings, and one call more.
    ///
    /// # Errors
    /// [`Error::NoMajority`] or the last fault when it stayed open who has it; then the claim may
    /// be ours without our knowing, and has to be claimed again or released.
    pub async fn claim<T>(
        &self,
        id: &str,
        body: &T,
        is_mine: impl Fn(&T) -> bool + Send + Sync,
    ) -> Result<Claim<T>>
    where
        T: Serialize + DeserializeOwned + Sync,
    {
        let terms = self.terms("claim document");
        let members = Value::Object(encode(&terms.call, body)?);
        let place = Place { database: self, id };
        let mine = |leaf: &Leaf| Ok(is_mine(&Self::typed(&terms.call, &leaf.body)?));
        match claim(&place, &terms, &members, mine).await? {
            Claim::Won(rev) => Ok(Claim::Won(rev)),
            Claim::Taken(body) => Ok(Claim::Taken(Self::typed(&terms.call, &body)?)),
        }
    }

    /// Writes the successor of `rev`, if nobody else does: at most one of all who call this wins.
    /// After a lost answer it finds out what became of the write.
    ///
    /// `body` must differ from what any other writer may write over the same `rev` (let it hold who
    /// writes it and how often): by it a writer knows its own.
    ///
    /// Takes at most `race_timeout` of the settings, and one call more.
    ///
    /// # Errors
    /// [`Error::NoMajority`] or the last fault when it stayed open whether the write stands.
    pub async fn compare_and_set<T: Serialize + ?Sized + Sync>(
        &self,
        id: &str,
        rev: &Rev,
        body: &T,
    ) -> Result<Exchange> {
        let terms = self.terms("compare and set document");
        let members = Value::Object(encode(&terms.call, body)?);
        self.compare_and_set_value(id, terms, rev, members).await
    }

    /// Boxed, and not generic, so that it is compiled in this crate, once.
    fn compare_and_set_value<'a>(
        &'a self,
        id: &'a str,
        terms: Terms<'a>,
        rev: &'a Rev,
        members: Value,
    ) -> BoxFuture<'a, Result<Exchange>> {
        Box::pin(async move {
            compare_and_set(&Place { database: self, id }, &terms, rev, &members).await
        })
    }

    /// Deletes the document if it is still at `rev`. Two who delete the same may both win.
    ///
    /// # Errors
    /// As [`Database::compare_and_set`].
    pub async fn compare_and_delete(&self, id: &str, rev: &Rev) -> Result<Exchange> {
        let terms = self.terms("compare and delete document");
        compare_and_delete(&Place { database: self, id }, &terms, rev).await
    }

    /// Gives a claim back: deletes every live leaf that is ours, and no other. May be repeated.
    /// Says whether there was one.
    ///
    /// # Errors
    /// The last fault when a leaf of ours may still be there.
    pub async fn release<T: DeserializeOwned>(
        &self,
        id: &str,
        is_mine: impl Fn(&T) -> bool + Send + Sync,
    ) -> Result<bool> {
        let terms = self.terms("release document");
        let mine = |leaf: &Leaf| Ok(is_mine(&Self::typed(&terms.call, &leaf.body)?));
        release(&Place { database: self, id }, &terms, mine).await
    }
}
