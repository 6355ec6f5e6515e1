//! Taking a document that nobody has, and giving it back.

use serde_json::Value;

use super::{
    Claim, Store, Terms, best_of, keep_if_open, part, rank, withdraw_all, withdraw_spares,
};
use crate::document::{Leaf, Write};
use crate::error::Result;

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
