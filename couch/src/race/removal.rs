//! Removing a document for good: its id is never used again.
//!
//! A node may die after it took a write that no other node has, and return when the document is deleted on all
//! others. Its leaf is alive then, beside the tombstone, and CouchDB makes a live leaf the winner. A node may also hang
//! with a write that its client has given up, and execute it when it goes on. A write without a revision then continues
//! the winning tombstone, which is no leaf any more.
//!
//! So the mark of such a document is a branch of its own: a tombstone of the first generation with the lowest hash. It
//! never wins over another tombstone, and nobody continues it. Whoever reads a document with a mark knows that every live
//! leaf is one that returned, and removes it.

use super::{DocumentStore, RaceContext, keep_transient};
use crate::document::{Leaf, Write};
use crate::error::{Error, Result};

/// Deletes every live leaf, and leaves a mark even if there was no leaf. Returns whether there was a live one.
pub(crate) async fn remove_for_good(
    store: &impl DocumentStore,
    context: &RaceContext<'_>,
) -> Result<bool> {
    let mut last = None;
    let mut removed = false;
    loop {
        if let Some(leaves) = keep_transient(store.leaves().await, &mut last)? {
            let alive = alive(&leaves);
            if alive.is_empty() {
                let is_marked = leaves.iter().any(Leaf::is_mark);
                if is_marked || mark(store, leaves.is_empty(), &mut last).await? {
                    return Ok(removed);
                }
            }
            for leaf in alive {
                keep_transient(store.remove(&leaf.rev).await, &mut last)?;
                removed = true;
            }
        }
        context.pause(5, 40, &mut last).await?;
    }
}

/// Writes the mark. Returns whether a majority of the nodes has it.
async fn mark(
    store: &impl DocumentStore,
    is_alone: bool,
    last: &mut Option<Error>,
) -> Result<bool> {
    let written = keep_transient(store.mark(is_alone).await, last)?;
    Ok(written == Some(true))
}

/// Writes the mark of a document that has just been deleted.
pub(super) async fn mark_removed(
    store: &impl DocumentStore,
    context: &RaceContext<'_>,
) -> Result<()> {
    let mut last = None;
    while !mark(store, false, &mut last).await? {
        context.pause(5, 40, &mut last).await?;
    }
    Ok(())
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
        match store.remove(&leaf.rev).await? {
            Write::Committed(_) | Write::Contested(_) | Write::Conflict => {}
        }
    }
    Ok(Some(returned))
}

fn alive(leaves: &[Leaf]) -> Vec<&Leaf> {
    leaves.iter().filter(|leaf| !leaf.deleted).collect()
}
