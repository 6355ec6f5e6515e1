//! Making credentials from a passphrase, away from the threads that serve requests.

use std::{sync::Arc, thread::available_parallelism, time::Duration};

use tokio::{sync::Semaphore, time::timeout};

use crate::{
    domain::passphrase::{Chosen, Credentials},
    error::Error,
};

/// How long a request waits for its turn: a derivation takes up to a second of one core.
const PATIENCE: Duration = Duration::from_secs(20);

/// Derives credentials, no more at once than there are cores. Clones share the turns.
#[derive(Clone, Debug)]
pub(crate) struct Deriver {
    turns: Arc<Semaphore>,
}

impl Deriver {
    pub(crate) fn new() -> Self {
        let cores = available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            turns: Arc::new(Semaphore::new(cores)),
        }
    }

    /// Does all the work that a passphrase means. `salt` is that of the client's derivation.
    ///
    /// # Errors
    /// [`Error::Hashing`] when too many others wait; when the system has no randomness to give.
    pub(crate) async fn derive(
        &self,
        chosen: Chosen,
        salt: String,
        hint: String,
    ) -> Result<Credentials, Error> {
        let turn = timeout(PATIENCE, Arc::clone(&self.turns).acquire_owned())
            .await
            .ok()
            .and_then(Result::ok)
            .ok_or(Error::Hashing)?;
        let derived = tokio::task::spawn_blocking(move || {
            let derived = Credentials::derive(&chosen, &salt, &hint);
            drop(turn);
            derived
        });
        match derived.await {
            Ok(derived) => Ok(derived?),
            // The task panicked, or the runtime is shutting down.
            Err(_) => Err(Error::Hashing),
        }
    }
}
