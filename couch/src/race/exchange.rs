//! Compare-and-set: writing or deleting the successor of one revision.

use serde_json::Value;

use super::removal::mark_removed;
use super::{DocumentStore, Exchange, RaceContext, keep_transient, rank, withdraw_spares};
use crate::document::{Leaf, Rev, Write};
use crate::error::{Error, Result};

pub(crate) async fn compare_and_set(
    store: &impl DocumentStore,
    context: &RaceContext<'_>,
    base: &Rev,
    body: &Value,
) -> Result<Exchange> {
    let mut last = None;
    // After a lost response, a conflict may be caused by our own write.
    let mut unanswered = false;
    let mut own = Vec::new();
    loop {
        match keep_transient(store.put(Some(base), body).await, &mut last)? {
            Some(Write::Committed(rev)) => return Ok(Exchange::Won(rev)),
            Some(Write::Conflict) if !unanswered => return Ok(Exchange::Lost),
            Some(Write::Conflict) => break,
            Some(Write::Contested(rev)) => {
                own.push(rev);
                break;
            }
            None => unanswered = true,
        }
        context.pause(20, 120, &mut last).await?;
    }
    let settling = Settling {
        store,
        context,
        base,
        body,
        own,
        gone: Vec::new(),
        last,
    };
    settling.run().await
}

/// How many rounds the writer of the leading leaf waits for the others to withdraw before it does.
const GRACE_ROUNDS: u32 = 4;

/// How many reads must show a rival, after our own leaves are withdrawn, before the race is lost.
const SIGHTINGS: u32 = 2;

/// A compare-and-set whose first write had no clear outcome: a leaf of ours may exist.
///
/// A rival is any other successor of `base` that was not withdrawn. A deleted successor is a rival too: its
/// writer won, and the document was deleted afterwards. If there is a rival, we withdraw our leaf. If not, we
/// write a successor of our leaf and win by a 201.
///
/// If all writers got 202, they must not all withdraw, or the document would be gone. So the writer of the
/// leading leaf waits longer than the others. If all withdraw nevertheless, they start again on the
/// tombstones, which are recognized by their mark.
struct Settling<'a, S> {
    store: &'a S,
    context: &'a RaceContext<'a>,
    base: &'a Rev,
    body: &'a Value,
    /// Our leaves. After a 202, a majority read may not show the leaf yet.
    own: Vec<Rev>,
    /// Our former leaves, withdrawn or with a successor. Some node may still show them.
    gone: Vec<Rev>,
    last: Option<Error>,
}

impl<S: DocumentStore> Settling<'_, S> {
    async fn run(mut self) -> Result<Exchange> {
        let mut waited = 0;
        let mut sightings = 0;
        loop {
            self.context.pause(20, 120, &mut self.last).await?;
            let Some(leaves) = keep_transient(self.store.leaves().await, &mut self.last)? else {
                continue;
            };
            let rivals = self.collect_own_and_rivals(&leaves);
            if rivals.is_empty() {
                sightings = 0;
                let base_lives = leaves
                    .iter()
                    .any(|leaf| leaf.rev == *self.base && !leaf.deleted);
                if let Some(rev) = self.write_unrivalled(base_lives).await? {
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
            if ahead && waited < GRACE_ROUNDS {
                waited += 1;
                continue;
            }
            for rev in std::mem::take(&mut self.own) {
                match keep_transient(self.store.withdraw(&rev).await, &mut self.last)? {
                    Some(_) => self.gone.push(rev),
                    None => self.own.push(rev),
                }
            }
        }
    }

    /// Adds our leaves to `own` and returns the rivals.
    fn collect_own_and_rivals<'l>(&mut self, leaves: &'l [Leaf]) -> Vec<&'l Leaf> {
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

    /// Writes when there is no rival: a successor of our leading leaf, or of `base` if we have no leaf.
    async fn write_unrivalled(&mut self, base_lives: bool) -> Result<Option<Rev>> {
        let onto = self.own.iter().max_by_key(|rev| rank(rev)).cloned();
        let target = onto.as_ref().or(base_lives.then_some(self.base));
        let written = keep_transient(self.store.put(target, self.body).await, &mut self.last)?;
        if written.is_some()
            && let Some(rev) = &onto
        {
            self.own.retain(|it| it != rev);
        }
        match written {
            // Made by the same bytes as a leaf of ours that was withdrawn, perhaps on a node that is away. The
            // tombstone would delete it when that node is back; a successor stays alive beside the tombstone.
            Some(Write::Committed(rev)) if self.gone.contains(&rev) => self.own.push(rev),
            Some(Write::Committed(rev)) => {
                for spare in std::mem::take(&mut self.own) {
                    keep_transient(self.store.withdraw(&spare).await, &mut self.last)?;
                }
                return Ok(Some(rev));
            }
            Some(Write::Contested(rev)) => {
                self.gone.extend(onto);
                self.own.push(rev);
            }
            // If our write succeeded, the next read shows it.
            Some(Write::Conflict) | None => {}
        }
        Ok(None)
    }
}

/// How a document is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deletion {
    /// Its id may be used again.
    Plain,
    /// Its id is never used again.
    ForGood,
}

pub(crate) async fn compare_and_delete(
    store: &impl DocumentStore,
    context: &RaceContext<'_>,
    base: &Rev,
    deletion: Deletion,
) -> Result<Exchange> {
    let outcome = delete_successor(store, context, base, deletion).await?;
    if deletion == Deletion::ForGood && outcome != Exchange::Lost {
        mark_removed(store, context).await?;
    }
    Ok(outcome)
}

async fn delete_successor(
    store: &impl DocumentStore,
    context: &RaceContext<'_>,
    base: &Rev,
    deletion: Deletion,
) -> Result<Exchange> {
    let mut last = None;
    let mut unanswered = false;
    loop {
        let deleted = match deletion {
            Deletion::Plain => store.delete(base).await,
            Deletion::ForGood => store.remove(base).await,
        };
        let open = match keep_transient(deleted, &mut last)? {
            Some(Write::Committed(rev)) => return Ok(Exchange::Won(rev)),
            Some(Write::Conflict) if !unanswered => return Ok(Exchange::Lost),
            Some(Write::Contested(_) | Write::Conflict) => true,
            None => {
                unanswered = true;
                false
            }
        };
        context.pause(20, 120, &mut last).await?;
        if !open {
            continue;
        }
        let Some(leaves) = keep_transient(store.leaves().await, &mut last)? else {
            continue;
        };
        // Our tombstone beside a live leaf is harmless: it never becomes the winner.
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
