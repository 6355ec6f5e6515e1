//! The limit on how many operations of some kinds run at once.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Limits how many operations that need a turn run at once.
#[derive(Clone, Debug)]
pub(super) struct Turns(Arc<Semaphore>);

/// A turn. Dropping it gives it back. Work that needs no turn has an empty one.
#[derive(Debug)]
pub(super) struct Turn {
    _permit: Option<OwnedSemaphorePermit>,
}

impl Turns {
    pub(super) fn new(at_once: u16) -> Self {
        Self(Arc::new(Semaphore::new(usize::from(at_once))))
    }

    /// Takes a turn if one is free. `limited` says whether this work needs one.
    pub(super) fn try_turn(&self, limited: bool) -> Option<Turn> {
        if !limited {
            return Some(Turn { _permit: None });
        }
        let permit = Arc::clone(&self.0).try_acquire_owned().ok()?;
        Some(Turn {
            _permit: Some(permit),
        })
    }

    /// Waits for a turn. Turns are given in the order of the requests.
    pub(super) async fn turn(&self) -> Option<Turn> {
        let permit = Arc::clone(&self.0).acquire_owned().await.ok()?;
        Some(Turn {
            _permit: Some(permit),
        })
    }
}
