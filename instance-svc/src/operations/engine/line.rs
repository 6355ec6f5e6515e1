//! The turns that operations of some kinds wait for.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Limits how many operations that need a turn are at work at once.
#[derive(Clone, Debug)]
pub(super) struct Line(Arc<Semaphore>);

/// A turn; it ends when this is dropped. Work that needs no turn has none.
#[derive(Debug)]
pub(super) struct Turn {
    _permit: Option<OwnedSemaphorePermit>,
}

impl Line {
    pub(super) fn new(at_once: u16) -> Self {
        Self(Arc::new(Semaphore::new(usize::from(at_once))))
    }

    /// A turn, if it is nobody else's. `limited` is whether this work needs one.
    pub(super) fn try_turn(&self, limited: bool) -> Option<Turn> {
        if !limited {
            return Some(Turn { _permit: None });
        }
        let permit = Arc::clone(&self.0).try_acquire_owned().ok()?;
        Some(Turn {
            _permit: Some(permit),
        })
    }

    /// Waits for a turn, first come, first served.
    pub(super) async fn turn(&self) -> Option<Turn> {
        let permit = Arc::clone(&self.0).acquire_owned().await.ok()?;
        Some(Turn {
            _permit: Some(permit),
        })
    }
}
