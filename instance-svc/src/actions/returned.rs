//! Removing what a node of the database brings back.
//!
//! A node may die after it took a write that no other node has, and come back after the document was removed on all
//! others. What it brings back wins over the tombstone. Whoever reads such a document by its id removes it; lists
//! and look-ups show what nobody has read by id. So every replica also follows the feeds of the databases, and
//! reads what has several leaves.

use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    error::Error,
    operations::claims,
    store::{LeafFeed, Store},
};

/// Follows the feeds. There is one in each process.
#[derive(Debug)]
pub(crate) struct Returned {
    store: Store,
    unique_ids: Vec<LeafFeed>,
    claims: LeafFeed,
    /// The names with competing claims, and since when they are known. A race of two writers looks the same.
    competing: HashMap<String, Instant>,
}

impl Returned {
    pub(crate) fn new(store: Store) -> Self {
        Self {
            unique_ids: store.feeds_of_unique_ids(),
            claims: store.feed_of_claims(),
            store,
            competing: HashMap::new(),
        }
    }

    /// Looks at intervals, until the shutdown.
    pub(crate) async fn follow(mut self, every: Duration, shutdown: CancellationToken) {
        loop {
            if let Err(error) = self.look().await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "what nodes of the database bring back cannot be looked for; this is tried again"
                );
            }
            tokio::select! {
                () = tokio::time::sleep(every) => {}
                () = shutdown.cancelled() => return,
            }
        }
    }

    async fn look(&mut self) -> Result<(), Error> {
        for feed in &mut self.unique_ids {
            feed.remove_returned().await?;
        }
        for name in self.claims.read().await? {
            self.competing.entry(name).or_insert_with(Instant::now);
        }
        let known_for_long: Vec<String> = self
            .competing
            .iter()
            .filter(|(_, since)| since.elapsed() >= claims::GRACE)
            .map(|(name, _)| name.clone())
            .collect();
        for name in known_for_long {
            if !claims::remove_abandoned(&self.store, &name).await? {
                self.competing.remove(&name);
            }
        }
        Ok(())
    }
}
