//! Deriving credentials from a passphrase, on threads that serve no requests.

use std::{sync::Arc, thread::available_parallelism, time::Duration};

use service_kit::secret::Secret;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use crate::{
    domain::passphrase::{
        Chosen, Credentials,
        client::{Iterations, MasterKey, is_login_hash},
        server,
    },
    error::Error,
};

/// How long a request waits for a free core. A derivation takes up to a second of one core.
const PATIENCE: Duration = Duration::from_secs(20);

/// How many tries of strangers wait for their turn. Further ones are refused at once.
const WAITING_STRANGERS: usize = 32;

/// Derives credentials, at most one per core at a time. Clones share this limit.
///
/// Strangers who try to log in have a queue of their own, which takes half of the cores at most: however many they are, an
/// owner at a known browser waits for one derivation.
#[derive(Clone, Debug)]
pub(crate) struct Deriver {
    turns: Arc<Semaphore>,
    strangers: Arc<Semaphore>,
    places: Arc<Semaphore>,
}

/// A try to log in.
#[derive(Debug)]
pub(crate) struct Attempt {
    /// The hash that the instance keeps.
    pub(crate) stored_hash: String,
    /// What was sent: the passphrase, or its hash.
    pub(crate) passphrase: Secret,
    /// The salt of the client's derivation.
    pub(crate) salt: String,
    /// Its rounds; `None` when the passphrase itself was hashed, as clients once did.
    pub(crate) iterations: Option<Iterations>,
}

impl Attempt {
    fn is_right(&self) -> bool {
        let sent = self.passphrase.expose();
        match self.iterations {
            Some(iterations) if !is_login_hash(sent) => {
                let master = MasterKey::derive(sent, &self.salt, iterations);
                server::matches(&self.stored_hash, &master.login_hash(sent))
            }
            _ => server::matches(&self.stored_hash, sent),
        }
    }
}

impl Deriver {
    pub(crate) fn new() -> Self {
        let cores = available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            turns: Arc::new(Semaphore::new(cores)),
            strangers: Arc::new(Semaphore::new(cores.div_ceil(2))),
            places: Arc::new(Semaphore::new(WAITING_STRANGERS)),
        }
    }

    /// Whether a passphrase is the one of the instance. `is_known` says that the browser is one from which the owner has
    /// logged in before.
    ///
    /// # Errors
    /// [`Error::Hashing`] when too many are waiting.
    pub(crate) async fn verify(&self, attempt: Attempt, is_known: bool) -> Result<bool, Error> {
        let mut held = Vec::new();
        if !is_known {
            let place = Arc::clone(&self.places).try_acquire_owned();
            held.push(place.map_err(|_| Error::Hashing)?);
            held.push(turn(&self.strangers).await?);
        }
        held.push(turn(&self.turns).await?);
        let checked = tokio::task::spawn_blocking(move || {
            let is_right = attempt.is_right();
            drop(held);
            is_right
        });
        // The task panicked, or the runtime is shutting down.
        checked.await.map_err(|_| Error::Hashing)
    }

    /// Does other expensive work, within the same limit.
    ///
    /// # Errors
    /// [`Error::Hashing`] when too much is waiting.
    pub(crate) async fn apart<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        let turn = turn(&self.turns).await?;
        let done = tokio::task::spawn_blocking(move || {
            let done = work();
            drop(turn);
            done
        });
        // The task panicked, or the runtime is shutting down.
        done.await.map_err(|_| Error::Hashing)
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
        let derived = self.apart(move || Credentials::derive(&chosen, &salt, &hint));
        Ok(derived.await??)
    }
}

async fn turn(of: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Error> {
    timeout(PATIENCE, Arc::clone(of).acquire_owned())
        .await
        .ok()
        .and_then(Result::ok)
        .ok_or(Error::Hashing)
}
