//! Limits on concurrent calls, for a service and for one instance.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use crate::refusal::Refusal;

/// The limits of one service. A call first waits for its instance, and only then for the service, so that a
/// busy instance does not hold the service's permits.
pub(super) struct Turns {
    service: Arc<Semaphore>,
    per_instance: Option<usize>,
    instances: Mutex<Instances>,
    patience: Duration,
}

#[derive(Default)]
struct Instances {
    semaphores: HashMap<String, Weak<Semaphore>>,
    sweep_at: usize,
}

/// The permit for one call; returned when it is dropped.
pub(super) struct Turn {
    _service: OwnedSemaphorePermit,
    _instance: Option<OwnedSemaphorePermit>,
}

impl Turns {
    pub(super) fn new(calls: usize, per_instance: Option<usize>, patience: Duration) -> Self {
        Self {
            service: Arc::new(Semaphore::new(calls)),
            per_instance,
            instances: Mutex::default(),
            patience,
        }
    }

    /// Waits for a permit.
    ///
    /// # Errors
    /// [`Refusal::TooManyCalls`] when it takes too long.
    pub(super) async fn take(&self, instance: Option<&str>) -> Result<Turn, Refusal> {
        let waiting = async {
            let instance = match (instance, self.per_instance) {
                (Some(instance), Some(limit)) => {
                    Some(self.of_instance(instance, limit).acquire_owned().await?)
                }
                _ => None,
            };
            Ok::<_, tokio::sync::AcquireError>(Turn {
                _service: Arc::clone(&self.service).acquire_owned().await?,
                _instance: instance,
            })
        };
        match timeout(self.patience, waiting).await {
            Ok(Ok(turn)) => Ok(turn),
            Ok(Err(_)) | Err(_) => Err(Refusal::TooManyCalls),
        }
    }

    fn of_instance(&self, instance: &str, limit: usize) -> Arc<Semaphore> {
        let mut instances = self
            .instances
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = instances.semaphores.get(instance).and_then(Weak::upgrade) {
            return kept;
        }
        if instances.semaphores.len() >= instances.sweep_at {
            instances
                .semaphores
                .retain(|_, kept| kept.strong_count() > 0);
            instances.sweep_at = instances.semaphores.len() * 2 + 64;
        }
        let fresh = Arc::new(Semaphore::new(limit));
        instances
            .semaphores
            .insert(instance.to_owned(), Arc::downgrade(&fresh));
        fresh
    }
}
