//! Walks through a tree.

use std::{collections::VecDeque, vec};

use futures::{Stream, stream};

use crate::{
    domain::{node::Node, order::SortKey},
    error::Error,
    store::Store,
};

/// How many documents are read per request.
const CHUNK: usize = 200;

/// A directory that is being walked.
struct Level {
    directory: Node,
    /// Children that have not been read.
    keys: vec::IntoIter<SortKey>,
    /// Children that have been read but not sent.
    ready: VecDeque<Node>,
}

struct Walk {
    store: Store,
    /// Maximum depth.
    limit: usize,
    /// The start directory, until it has been sent.
    start: Option<Node>,
    /// The directories from the start to the current one.
    levels: Vec<Level>,
}

/// Walks a directory and everything below it, depth first, children sorted by name. `limit` is the maximum depth; 0
/// means no limit. Each entry comes with its depth; the start has depth 0. The stream ends after the first error.
///
/// Documents are read on demand, so a concurrent change may or may not be seen.
pub(crate) fn walk(
    store: Store,
    start: Node,
    limit: usize,
) -> impl Stream<Item = Result<(Node, usize), Error>> + Send {
    let walk = Walk {
        store,
        limit: if limit == 0 { usize::MAX } else { limit },
        start: Some(start),
        levels: Vec::new(),
    };
    stream::try_unfold(walk, |mut walk| async move {
        let next = walk.next().await?;
        Ok(next.map(|entry| (entry, walk)))
    })
}

impl Walk {
    async fn next(&mut self) -> Result<Option<(Node, usize)>, Error> {
        if let Some(start) = self.start.take() {
            self.enter(&start).await?;
            return Ok(Some((start, 0)));
        }
        loop {
            let depth = self.levels.len();
            let Some(level) = self.levels.last_mut() else {
                return Ok(None);
            };
            if let Some(node) = level.ready.pop_front() {
                self.enter(&node).await?;
                return Ok(Some((node, depth)));
            }
            let chunk: Vec<SortKey> = level.keys.by_ref().take(CHUNK).collect();
            if chunk.is_empty() {
                self.levels.pop();
            } else {
                level.ready = self.store.nodes(&chunk, &level.directory).await?.into();
            }
        }
    }

    /// Enters a directory, unless it lies deeper than the limit.
    async fn enter(&mut self, node: &Node) -> Result<(), Error> {
        if !node.fields.is_directory() || self.levels.len() >= self.limit {
            return Ok(());
        }
        if self
            .levels
            .iter()
            .any(|level| level.directory.id == node.id)
        {
            return Err(self.store.broken(&node.id, "it lies below itself"));
        }
        let keys = self.store.children(&node.id).await?.into_iter();
        self.levels.push(Level {
            directory: node.clone(),
            keys,
            ready: VecDeque::new(),
        });
        Ok(())
    }
}
