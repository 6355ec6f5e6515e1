//! Writing or deleting the successor of one revision.

use serde_json::Value;

use super::{Exchange, Store, Terms, keep_if_open, rank, withdraw_spares};
use crate::document::{Leaf, Rev, Write};
use crate::error::{Error, Result};

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
