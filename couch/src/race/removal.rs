//! Removing a document for good: its id is never used again.
//!
//! A node may die after it took a write that no other node has, and return when the document is deleted on all
//! others. Its leaf is alive then, beside the tombstone, and CouchDB makes a live leaf the winner. So the
//! tombstone of such a document carries a mark. Whoever reads a document with a marked tombstone knows that every
//! live leaf is one that returned, and removes it.

use super::{DocumentStore, RaceContext, keep_transient};
use crate::document::{Leaf, Write};
use crate::error::Result;

/// Deletes every live leaf, and leaves a marked tombstone even if there was no leaf. Returns whether there was a
/// live one.
pub(crate) async fn remove_for_good(
    store: &impl DocumentStore,
    context: &RaceContext<'_>,
) -> Result<bool> {
    let mut last = None;
    let mut removed = false;
    loop {
        if let Some(leaves) = keep_transient(store.leaves().await, &mut last)? {
            let marked = leaves.iter().any(Leaf::is_removal);
            let alive = alive(&leaves);
            if alive.is_empty() {
                if marked {
                    return Ok(removed);
                }
                // A tombstone without the mark cannot get a successor.
                if let Some(Write::Conflict) = keep_transient(store.remove(None).await, &mut last)?
                    && !leaves.is_empty()
                {
                    return Ok(removed);
                }
            }
            for leaf in alive {
                keep_transient(store.remove(Some(&leaf.rev)).await, &mut last)?;
                removed = true;
            }
        }
        context.pause(5, 40, &mut last).await?;
    }
}

/// Deletes the live leaves of a document that was removed for good. Returns how many there were; `None` when the
/// document was not removed for good.
pub(crate) async fn remove_returned(store: &impl DocumentStore) -> Result<Option<usize>> {
    let leaves = store.leaves().await?;
    if !leaves.iter().any(Leaf::is_removal) {
        return Ok(None);
    }
    let mut returned = 0;
    for leaf in alive(&leaves) {
        returned += 1;
        // A leaf that stays for now is found again by the next reader.
        match store.remove(Some(&leaf.rev)).await? {
            Write::Committed(_) | Write::Contested(_) | Write::Conflict => {}
        }
    }
    Ok(Some(returned))
}

fn alive(leaves: &[Leaf]) -> Vec<&Leaf> {
    leaves.iter().filter(|leaf| !leaf.deleted).collect()
}
