//! The line in which creations wait for their turn.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Limits how many creations are at work at once.
#[derive(Clone, Debug)]
pub(crate) struct Line(Arc<Semaphore>);

/// A turn; it ends when this is dropped. Work that needs no turn has none.
#[derive(Debug)]
pub(crate) struct Turn {
    _permit: Option<OwnedSemaphorePermit>,
}

impl Line {
    pub(crate) fn new(at_once: u16) -> Self {
        Self(Arc::new(Semaphore::new(usize::from(at_once))))
    }

    /// A turn, if it is nobody else's. `limited` is whether this work needs one.
    pub(crate) fn try_turn(&self, limited: bool) -> Option<Turn> {
        if !limited {
            return Some(Turn { _permit: None });
        }
        let permit = Arc::clone(&self.0).try_acquire_owned().ok()?;
        Some(Turn {
            _permit: Some(permit),
        })
    }

    /// Waits for a turn, first come, first served.
    pub(crate) async fn turn(&self) -> Option<Turn> {
        let permit = Arc::clone(&self.0).acquire_owned().await.ok()?;
        Some(Turn {
            _permit: Some(permit),
        })
    }
}
