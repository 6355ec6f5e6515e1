//! Claiming a document and releasing the claim.

use serde_json::Value;

use super::{
    ClaimOutcome, DocumentStore, RaceContext, best_of, keep_transient, partition, rank,
    withdraw_spares,
};
use crate::document::{Leaf, Rev, Write};
use crate::error::{Error, Result};

pub(crate) async fn claim(
    store: &impl DocumentStore,
    context: &RaceContext<'_>,
    body: &Value,
    is_mine: impl Fn(&Leaf) -> Result<bool> + Sync,
) -> Result<ClaimOutcome<Value>> {
    let mut tries = Tries::default();
    let mut last = None;
    let mut onto = None;
    let mut contended = false;
    loop {
        match keep_transient(store.put(onto.as_ref(), body).await, &mut last)? {
            Some(Write::Committed(rev))
                if !tries.withdrawn.contains(&rev)
                    && (onto.is_none()
                        || tries.is_alone(store, &rev, &is_mine, &mut last).await?) =>
            {
                if contended {
                    let mine = |leaf: &Leaf| Ok(tries.made(leaf) || is_mine(leaf)?);
                    withdraw_spares(store, &rev, &mine).await?;
                }
                return Ok(ClaimOutcome::Won(rev));
            }
            Some(Write::Committed(rev) | Write::Contested(rev)) => tries.alive.push(rev),
            // A request or a response that was lost shows in the leaves.
            Some(Write::Conflict) | None => {}
        }
        contended = true;
        onto = None;
        context.pause(20, 120, &mut last).await?;
        let Some(leaves) = keep_transient(store.leaves().await, &mut last)? else {
            continue;
        };
        let mine = |leaf: &Leaf| Ok(tries.made(leaf) || is_mine(leaf)?);
        let (own, others) = partition(&leaves, &mine)?;
        if others.is_empty() {
            if let Some((best, rest)) = best_of(&own) {
                tries.withdraw(store, &rest, &mut last).await?;
                onto = Some(best.rev.clone());
            }
            continue;
        }
        tries.withdraw_all(store, &own, &mut last).await?;
        context.pause(30, 100, &mut last).await?;
        let Some(again) = keep_transient(store.leaves().await, &mut last)? else {
            continue;
        };
        let mine = |leaf: &Leaf| Ok(tries.made(leaf) || is_mine(leaf)?);
        let (own, still) = partition(&again, &mine)?;
        tries.withdraw_all(store, &own, &mut last).await?;
        // A leaf that is new since the first read may be a losing attempt and be withdrawn again.
        let stable = still
            .iter()
            .filter(|leaf| others.iter().any(|it| it.rev == leaf.rev));
        if let Some(winner) = stable.max_by_key(|leaf| rank(&leaf.rev)) {
            return Ok(ClaimOutcome::Taken(winner.body.clone()));
        }
    }
}

/// What one claimant has written.
///
/// The same bytes make the same revision. So a try may make a revision that an earlier try made, and that was
/// withdrawn, perhaps on a node that is away now. Its tombstone comes back with the node and would delete it. Such a
/// revision is not enough to win: a successor of it is, which stays alive beside the tombstone.
#[derive(Default)]
struct Tries {
    /// Revisions that a minority of the nodes took, or that were withdrawn before. A majority read may not show them.
    alive: Vec<Rev>,
    withdrawn: Vec<Rev>,
}

impl Tries {
    fn made(&self, leaf: &Leaf) -> bool {
        self.alive.contains(&leaf.rev)
    }

    /// Whether no read shows a leaf of another. A claimant that built upon a leaf which a minority of the nodes took asks
    /// this before it wins: another may have won on the majority of them since it last looked. Who won without such a
    /// leaf never gives way.
    ///
    /// Both majorities share a node. The other's leaf came to it before ours, or it would have been refused there. So the
    /// read shows it, unless that node goes away in between.
    async fn is_alone(
        &self,
        store: &impl DocumentStore,
        won: &Rev,
        is_mine: &(impl Fn(&Leaf) -> Result<bool> + Sync),
        last: &mut Option<Error>,
    ) -> Result<bool> {
        let Some(leaves) = keep_transient(store.leaves().await, last)? else {
            return Ok(false);
        };
        let mine = |leaf: &Leaf| Ok(leaf.rev == *won || self.made(leaf) || is_mine(leaf)?);
        let (_, others) = partition(&leaves, &mine)?;
        Ok(others.is_empty())
    }

    /// Withdraws these leaves. A leaf whose withdrawal fails is found again by the next read.
    async fn withdraw(
        &mut self,
        store: &impl DocumentStore,
        leaves: &[&Leaf],
        last: &mut Option<Error>,
    ) -> Result<()> {
        for leaf in leaves {
            self.withdrawn.push(leaf.rev.clone());
            if keep_transient(store.withdraw(&leaf.rev).await, last)?.is_some() {
                self.alive.retain(|rev| *rev != leaf.rev);
            }
        }
        Ok(())
    }

    /// Withdraws these leaves, and what no read has shown.
    async fn withdraw_all(
        &mut self,
        store: &impl DocumentStore,
        leaves: &[&Leaf],
        last: &mut Option<Error>,
    ) -> Result<()> {
        self.withdraw(store, leaves, last).await?;
        for rev in std::mem::take(&mut self.alive) {
            if keep_transient(store.withdraw(&rev).await, last)?.is_none() {
                self.alive.push(rev.clone());
            }
            self.withdrawn.push(rev);
        }
        Ok(())
    }
}

pub(crate) async fn release(
    store: &impl DocumentStore,
    context: &RaceContext<'_>,
    is_mine: impl Fn(&Leaf) -> Result<bool> + Sync,
) -> Result<bool> {
    let mut last = None;
    let mut deleted = false;
    loop {
        if let Some(leaves) = keep_transient(store.leaves().await, &mut last)? {
            let (mine, _) = partition(&leaves, &is_mine)?;
            if mine.is_empty() {
                return Ok(deleted);
            }
            for leaf in mine {
                keep_transient(store.delete(&leaf.rev).await, &mut last)?;
                deleted = true;
            }
        }
        context.pause(5, 40, &mut last).await?;
    }
}
