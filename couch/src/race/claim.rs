//! Claiming a document and releasing the claim.

use serde_json::Value;

use super::{
    ClaimOutcome, DocumentStore, RaceContext, best_of, keep_transient, partition, rank,
    withdraw_all, withdraw_spares,
};
use crate::document::{Leaf, Write};
use crate::error::Result;

pub(crate) async fn claim(
    store: &impl DocumentStore,
    context: &RaceContext<'_>,
    body: &Value,
    is_mine: impl Fn(&Leaf) -> Result<bool> + Sync,
) -> Result<ClaimOutcome<Value>> {
    let mut last = None;
    let mut contended = false;
    loop {
        match keep_transient(store.put(None, body).await, &mut last)? {
            Some(Write::Committed(rev)) => {
                if contended {
                    withdraw_spares(store, &rev, &is_mine).await?;
                }
                return Ok(ClaimOutcome::Won(rev));
            }
            Some(Write::Contested(rev)) => {
                keep_transient(store.withdraw(&rev).await, &mut last)?;
            }
            // The request or the response was lost. The next attempt finds out.
            None => {}
            Some(Write::Conflict) => {
                let Some(leaves) = keep_transient(store.leaves().await, &mut last)? else {
                    context.pause(20, 120, &mut last).await?;
                    continue;
                };
                let (mine, others) = partition(&leaves, &is_mine)?;
                if !others.is_empty() {
                    withdraw_all(store, &mine, &mut last).await?;
                    context.pause(30, 100, &mut last).await?;
                    let Some(again) = keep_transient(store.leaves().await, &mut last)? else {
                        continue;
                    };
                    let (mine, still) = partition(&again, &is_mine)?;
                    withdraw_all(store, &mine, &mut last).await?;
                    // A leaf that is new since the first read may be a losing attempt and be withdrawn again.
                    let stable = still
                        .iter()
                        .filter(|leaf| others.iter().any(|it| it.rev == leaf.rev));
                    if let Some(winner) = stable.max_by_key(|leaf| rank(&leaf.rev)) {
                        return Ok(ClaimOutcome::Taken(winner.body.clone()));
                    }
                    contended = true;
                    continue;
                }
                if let Some((best, rest)) = best_of(&mine) {
                    withdraw_all(store, &rest, &mut last).await?;
                    match keep_transient(store.put(Some(&best.rev), body).await, &mut last)? {
                        Some(Write::Committed(rev)) => return Ok(ClaimOutcome::Won(rev)),
                        Some(Write::Contested(rev)) => {
                            keep_transient(store.withdraw(&rev).await, &mut last)?;
                        }
                        Some(Write::Conflict) | None => {}
                    }
                }
            }
        }
        contended = true;
        context.pause(20, 120, &mut last).await?;
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
