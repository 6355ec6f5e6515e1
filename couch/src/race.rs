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

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::Instant;

use crate::database::Database;
use crate::document::{Leaf, Rev, Write, encode};
use crate::error::{Call, Error, Result};
use crate::pause::Dice;

#[cfg(test)]
mod simulation;

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

pub(crate) async fn claim(
    store: &impl Store,
    terms: &Terms<'_>,
    body: &Value,
    is_mine: impl Fn(&Leaf) -> Result<bool> + Sync,
) -> Result<Claim<Value>> {
    let mut last = None;
    let mut contended = false;
    loop {
        match keep_if_open(store.put(None, body).await, &mut last)? {
            Some(Write::Committed(rev)) => {
                if contended {
                    withdraw_spares(store, &rev, &is_mine).await?;
                }
                return Ok(Claim::Won(rev));
            }
            Some(Write::Contested(rev)) => {
                keep_if_open(store.withdraw(&rev).await, &mut last)?;
            }
            // Lost on the way, there or back: the next attempt finds out.
            None => {}
            Some(Write::Conflict) => {
                let Some(leaves) = keep_if_open(store.leaves().await, &mut last)? else {
                    terms.pause(20, 120, &mut last).await?;
                    continue;
                };
                let (mine, others) = part(&leaves, &is_mine)?;
                if !others.is_empty() {
                    withdraw_all(store, &mine, &mut last).await?;
                    terms.pause(30, 100, &mut last).await?;
                    let Some(again) = keep_if_open(store.leaves().await, &mut last)? else {
                        continue;
                    };
                    let (mine, still) = part(&again, &is_mine)?;
                    withdraw_all(store, &mine, &mut last).await?;
                    // A leaf that was not there before may be one more attempt that will be lost.
                    let stable = still
                        .iter()
                        .filter(|leaf| others.iter().any(|it| it.rev == leaf.rev));
                    if let Some(winner) = stable.max_by_key(|leaf| rank(&leaf.rev)) {
                        return Ok(Claim::Taken(winner.body.clone()));
                    }
                    contended = true;
                    continue;
                }
                if let Some((best, rest)) = best_of(&mine) {
                    withdraw_all(store, &rest, &mut last).await?;
                    match keep_if_open(store.put(Some(&best.rev), body).await, &mut last)? {
                        Some(Write::Committed(rev)) => return Ok(Claim::Won(rev)),
                        Some(Write::Contested(rev)) => {
                            keep_if_open(store.withdraw(&rev).await, &mut last)?;
                        }
                        Some(Write::Conflict) | None => {}
                    }
                }
            }
        }
        contended = true;
        terms.pause(20, 120, &mut last).await?;
    }
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

pub(crate) async fn compare_and_set(
    store: &impl Store,
    terms: &Terms<'_>,
    base: &Rev,
    body: &Value,
) -> Result<Exchange> {
    let mut last = None;
    // After a lost answer a conflict may be our own write.
    let mut unanswered = false;
    let mut own = Vec::new();
    loop {
        match keep_if_open(store.put(Some(base), body).await, &mut last)? {
            Some(Write::Committed(rev)) => return Ok(Exchange::Won(rev)),
            Some(Write::Conflict) if !unanswered => return Ok(Exchange::Lost),
            Some(Write::Conflict) => break,
            Some(Write::Contested(rev)) => {
                own.push(rev);
                break;
            }
            None => unanswered = true,
        }
        terms.pause(20, 120, &mut last).await?;
    }
    let settling = Settling {
        store,
        terms,
        base,
        body,
        own,
        gone: Vec::new(),
        last,
    };
    settling.run().await
}

/// How often a writer whose leaf wins for now lets the others step back before it does.
const ROUNDS_OF_GRACE: u32 = 4;

/// How often a rival must have been seen alive, after ours is gone, to be the winner.
const SIGHTINGS: u32 = 2;

/// A compare-and-set of which it is only known that a leaf of ours may be there.
///
/// A rival is any other successor of `base` that its writer has not taken back; a deleted one
/// counts too, for its writer had won and gone on. With a rival our leaf goes; without one it is
/// written over once more, and a 201 to that makes it ours. When all writers were answered 202
/// they must not all step back, or the document would be gone: so the one whose leaf wins waits
/// longer than the others. Should it happen all the same, they begin again over the tombstones,
/// which the mark of a tombstone makes possible.
struct Settling<'a, S> {
    store: &'a S,
    terms: &'a Terms<'a>,
    base: &'a Rev,
    body: &'a Value,
    /// Leaves of ours. A majority may not see one yet that we were told of with a 202.
    own: Vec<Rev>,
    /// Those of them that we have taken back, or that have a successor. Some node may still show them.
    gone: Vec<Rev>,
    last: Option<Error>,
}

impl<S: Store> Settling<'_, S> {
    async fn run(mut self) -> Result<Exchange> {
        let mut waited = 0;
        let mut sightings = 0;
        loop {
            self.terms.pause(20, 120, &mut self.last).await?;
            let Some(leaves) = keep_if_open(self.store.leaves().await, &mut self.last)? else {
                continue;
            };
            let rivals = self.sort_out(&leaves);
            if rivals.is_empty() {
                sightings = 0;
                let base_lives = leaves
                    .iter()
                    .any(|leaf| leaf.rev == *self.base && !leaf.deleted);
                if let Some(rev) = self.write_alone(base_lives).await? {
                    let is_ours = |leaf: &Leaf| {
                        Ok(leaf.history.contains(self.base) && leaf.body == *self.body)
                    };
                    withdraw_spares(self.store, &rev, &is_ours).await?;
                    return Ok(Exchange::Won(rev));
                }
                continue;
            }
            let Some(best) = self.own.iter().max_by_key(|rev| rank(rev)) else {
                sightings += 1;
                if sightings >= SIGHTINGS || self.gone.is_empty() {
                    return Ok(Exchange::Lost);
                }
                continue;
            };
            let ahead = rivals
                .iter()
                .all(|rival| !rival.deleted && rank(&rival.rev) < rank(best));
            if ahead && waited < ROUNDS_OF_GRACE {
                waited += 1;
                continue;
            }
            for rev in std::mem::take(&mut self.own) {
                match keep_if_open(self.store.withdraw(&rev).await, &mut self.last)? {
                    Some(_) => self.gone.push(rev),
                    None => self.own.push(rev),
                }
            }
        }
    }

    /// Adds leaves of ours that are seen to those we know of, and returns the rivals.
    fn sort_out<'l>(&mut self, leaves: &'l [Leaf]) -> Vec<&'l Leaf> {
        let mut rivals = Vec::new();
        for leaf in leaves {
            let successor = leaf.rev != *self.base && leaf.history.contains(self.base);
            let known = self.own.contains(&leaf.rev) || self.gone.contains(&leaf.rev);
            if !successor || known || leaf.is_withdrawn() {
                continue;
            }
            if !leaf.deleted && leaf.body == *self.body {
                self.own.push(leaf.rev.clone());
            } else {
                rivals.push(leaf);
            }
        }
        rivals
    }

    /// Writes where no rival is to be seen: over our leaf, or where there is none (any more),
    /// over what there was before.
    async fn write_alone(&mut self, base_lives: bool) -> Result<Option<Rev>> {
        let onto = self.own.iter().max_by_key(|rev| rank(rev)).cloned();
        let target = onto.as_ref().or(base_lives.then_some(self.base));
        let written = keep_if_open(self.store.put(target, self.body).await, &mut self.last)?;
        if written.is_some()
            && let Some(rev) = &onto
        {
            self.own.retain(|it| it != rev);
        }
        match written {
            Some(Write::Committed(rev)) => {
                for spare in std::mem::take(&mut self.own) {
                    keep_if_open(self.store.withdraw(&spare).await, &mut self.last)?;
                }
                return Ok(Some(rev));
            }
            Some(Write::Contested(rev)) => {
                self.gone.extend(onto);
                self.own.push(rev);
            }
            // If it is ours and still alive, the next reading shows it.
            Some(Write::Conflict) | None => {}
        }
        Ok(None)
    }
}

pub(crate) async fn compare_and_delete(
    store: &impl Store,
    terms: &Terms<'_>,
    base: &Rev,
) -> Result<Exchange> {
    let mut last = None;
    let mut unanswered = false;
    loop {
        let open = match keep_if_open(store.delete(base).await, &mut last)? {
            Some(Write::Committed(rev)) => return Ok(Exchange::Won(rev)),
            Some(Write::Conflict) if !unanswered => return Ok(Exchange::Lost),
            Some(Write::Contested(_) | Write::Conflict) => true,
            None => {
                unanswered = true;
                false
            }
        };
        terms.pause(20, 120, &mut last).await?;
        if !open {
            continue;
        }
        let Some(leaves) = keep_if_open(store.leaves().await, &mut last)? else {
            continue;
        };
        // A tombstone of ours beside somebody's live leaf does no harm: it never wins.
        let alive = leaves
            .iter()
            .find(|leaf| !leaf.deleted && leaf.history.contains(base));
        match alive {
            Some(leaf) if leaf.rev == *base => {}
            Some(_) => return Ok(Exchange::Lost),
            None => {
                let tombstone = leaves
                    .iter()
                    .find(|leaf| leaf.parent.as_ref() == Some(base));
                return Ok(tombstone.map_or(Exchange::Lost, |leaf| Exchange::Won(leaf.rev.clone())));
            }
        }
    }
}

pub(crate) async fn release(
    store: &impl Store,
    terms: &Terms<'_>,
    is_mine: impl Fn(&Leaf) -> Result<bool> + Sync,
) -> Result<bool> {
    let mut last = None;
    let mut deleted = false;
    loop {
        if let Some(leaves) = keep_if_open(store.leaves().await, &mut last)? {
            let (mine, _) = part(&leaves, &is_mine)?;
            if mine.is_empty() {
                return Ok(deleted);
            }
            for leaf in mine {
                keep_if_open(store.delete(&leaf.rev).await, &mut last)?;
                deleted = true;
            }
        }
        terms.pause(5, 40, &mut last).await?;
    }
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
    /// afterwards one live leaf is left, the winner's. May be repeated, also after a crash: a claim
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
        compare_and_set(&Place { database: self, id }, &terms, rev, &members).await
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
