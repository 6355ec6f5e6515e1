//! Deriving credentials from a passphrase, on threads that serve no requests.

use std::{sync::Arc, thread::available_parallelism, time::Duration};

use tokio::{sync::Semaphore, time::timeout};

use crate::{
    domain::passphrase::{Chosen, Credentials},
    error::Error,
};

/// How long a request waits for a free core. A derivation takes up to a second of one core.
const PATIENCE: Duration = Duration::from_secs(20);

/// Derives credentials, at most one per core at a time. Clones share this limit.
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

    /// Derives all credentials from a passphrase. `salt` is the salt of the client's derivation.
    ///
    /// # Errors
    /// [`Error::Hashing`] when too many derivations are waiting, or when the system provides no randomness.
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
