//! Limits on calls at work: of one caller, of one instance and of a service.
//!
//! A call waits for its caller's turn first, then for its instance's, then for the service's: a busy caller holds no
//! turns of its instance, and a busy instance none of the service.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::active::{Active, Scope};
use crate::{caller::CallerKey, refusal::Refusal};

/// How often a call that waits looks for one that its caller stalls.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// How many calls may be at work at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TurnLimits {
    pub(crate) service: usize,
    pub(crate) instance: Option<usize>,
    pub(crate) caller: Option<usize>,
    /// How long a call may wait.
    pub(crate) patience: Duration,
}

/// The turns of one service at one door.
pub(super) struct Turns {
    all: Scopes,
    /// For calls whose first message has not arrived: they hold few turns, so that they cannot hold all.
    early: Scopes,
    patience: Duration,
}

/// Who a turn is for.
#[derive(Clone, Copy)]
pub(super) struct For<'a> {
    pub(super) caller: Option<CallerKey>,
    pub(super) instance: Option<&'a str>,
}

/// The permit for one call; returned when it is dropped.
pub(super) struct Turn {
    _permits: Permits,
    _early: Option<Permits>,
}

struct Permits {
    _service: OwnedSemaphorePermit,
    _instance: Option<OwnedSemaphorePermit>,
    _caller: Option<OwnedSemaphorePermit>,
}

impl Turns {
    pub(super) fn new(limits: TurnLimits) -> Self {
        let few = |limit: usize| (limit / 8).max(1);
        Self {
            all: Scopes::new(limits.service, limits.instance, limits.caller),
            early: Scopes::new(
                few(limits.service),
                limits.instance.map(few),
                limits.caller.map(few),
            ),
            patience: limits.patience,
        }
    }

    /// Waits for a turn. While it waits, calls that are stalled by their callers lose theirs.
    ///
    /// # Errors
    /// [`Refusal::TooManyCalls`] when it takes too long.
    pub(super) async fn take(&self, whose: For<'_>, active: &Active) -> Result<Turn, Refusal> {
        if let Some(permits) = self.all.try_take(whose) {
            return Ok(Turn {
                _permits: permits,
                _early: None,
            });
        }
        let waiting = async {
            let mut taking = std::pin::pin!(self.all.take(whose));
            loop {
                match timeout(LOOK_EVERY, taking.as_mut()).await {
                    Ok(permits) => return permits,
                    Err(_still) => {
                        if let Some(scope) = self.all.exhausted(whose) {
                            active.end_stalled(scope);
                        }
                    }
                }
            }
        };
        match timeout(self.patience, waiting).await {
            Ok(Some(permits)) => Ok(Turn {
                _permits: permits,
                _early: None,
            }),
            Ok(None) | Err(_) => Err(Refusal::TooManyCalls),
        }
    }

    /// A turn for a call whose first message has not arrived, if there is one now.
    pub(super) fn try_early(&self, whose: For<'_>) -> Option<Turn> {
        let early = self.early.try_take(whose)?;
        Some(Turn {
            _permits: self.all.try_take(whose)?,
            _early: Some(early),
        })
    }
}

/// The semaphores of one kind of turn.
struct Scopes {
    service: Arc<Semaphore>,
    instances: Option<Shares<Box<str>>>,
    callers: Option<Shares<CallerKey>>,
}

impl Scopes {
    fn new(service: usize, instance: Option<usize>, caller: Option<usize>) -> Self {
        Self {
            service: Arc::new(Semaphore::new(service)),
            instances: instance.map(Shares::new),
            callers: caller.map(Shares::new),
        }
    }

    fn of(&self, whose: For<'_>) -> [Option<Arc<Semaphore>>; 2] {
        let caller = self.callers.as_ref().zip(whose.caller);
        let instance = self.instances.as_ref().zip(whose.instance);
        [
            caller.map(|(callers, key)| callers.of(&key, || key)),
            instance.map(|(instances, id)| instances.of(id, || id.into())),
        ]
    }

    fn try_take(&self, whose: For<'_>) -> Option<Permits> {
        let [caller, instance] = self.of(whose);
        let try_one = |semaphore: Option<Arc<Semaphore>>| match semaphore {
            Some(semaphore) => semaphore.try_acquire_owned().map(Some),
            None => Ok(None),
        };
        Some(Permits {
            _caller: try_one(caller).ok()?,
            _instance: try_one(instance).ok()?,
            _service: Arc::clone(&self.service).try_acquire_owned().ok()?,
        })
    }

    /// `None` when the semaphores are closed, which never happens.
    async fn take(&self, whose: For<'_>) -> Option<Permits> {
        let [caller, instance] = self.of(whose);
        let caller = match caller {
            Some(caller) => Some(caller.acquire_owned().await.ok()?),
            None => None,
        };
        let instance = match instance {
            Some(instance) => Some(instance.acquire_owned().await.ok()?),
            None => None,
        };
        Some(Permits {
            _service: Arc::clone(&self.service).acquire_owned().await.ok()?,
            _instance: instance,
            _caller: caller,
        })
    }

    /// The narrowest scope in which no turn is left.
    fn exhausted<'a>(&self, whose: For<'a>) -> Option<Scope<'a>> {
        let [caller, instance] = self.of(whose);
        let is_out = |semaphore: &Arc<Semaphore>| semaphore.available_permits() == 0;
        match (whose.caller, whose.instance) {
            (Some(key), _) if caller.as_ref().is_some_and(is_out) => Some(Scope::Caller(key)),
            (_, Some(id)) if instance.as_ref().is_some_and(is_out) => Some(Scope::Instance(id)),
            _ if is_out(&self.service) => Some(Scope::Service),
            _ => None,
        }
    }
}

/// A semaphore each for many keys. It exists while somebody holds a turn of it or waits for one.
struct Shares<K> {
    limit: usize,
    kept: Mutex<Kept<K>>,
}

struct Kept<K> {
    semaphores: HashMap<K, Weak<Semaphore>>,
    sweep_at: usize,
}

impl<K: Eq + Hash> Shares<K> {
    fn new(limit: usize) -> Self {
        Self {
            limit,
            kept: Mutex::new(Kept {
                semaphores: HashMap::new(),
                sweep_at: 64,
            }),
        }
    }

    fn of<Q>(&self, key: &Q, own: impl FnOnce() -> K) -> Arc<Semaphore>
    where
        K: std::borrow::Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(semaphore) = kept.semaphores.get(key).and_then(Weak::upgrade) {
            return semaphore;
        }
        if kept.semaphores.len() >= kept.sweep_at {
            kept.semaphores
                .retain(|_, semaphore| semaphore.strong_count() > 0);
            kept.sweep_at = kept.semaphores.len() * 2 + 64;
        }
        let semaphore = Arc::new(Semaphore::new(self.limit));
        kept.semaphores.insert(own(), Arc::downgrade(&semaphore));
        semaphore
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use std::{net::Ipv4Addr, time::Duration};

    use super::{For, TurnLimits, Turns};
    use crate::{caller::CallerKey, forward::active::Active};

    fn caller(last: u8) -> CallerKey {
        CallerKey::of(Ipv4Addr::new(192, 0, 2, last).into())
    }

    fn turns() -> Turns {
        Turns::new(TurnLimits {
            service: 32,
            instance: Some(16),
            caller: Some(8),
            patience: Duration::from_millis(20),
        })
    }

    #[tokio::test]
    async fn a_caller_has_fewer_turns_than_an_instance_and_an_instance_fewer_than_a_service() {
        let (turns, active) = (turns(), Active::new());
        let mut held = Vec::new();
        let mut taken = |caller: u8, instance: &'static str| {
            let whose = For {
                caller: Some(super::tests::caller(caller)),
                instance: Some(instance),
            };
            turns.all.try_take(whose).map(|it| held.push(it)).is_some()
        };
        assert_eq!((0..20).filter(|_| taken(1, "alice")).count(), 8);
        assert_eq!((0..20).filter(|_| taken(2, "alice")).count(), 8);
        assert_eq!((0..20).filter(|_| taken(3, "alice")).count(), 0);
        assert_eq!((0..20).filter(|_| taken(3, "bob")).count(), 8);
        assert_eq!((0..20).filter(|_| taken(4, "bob")).count(), 8);
        assert_eq!((0..20).filter(|_| taken(5, "carol")).count(), 0);
        let whose = For {
            caller: Some(caller(5)),
            instance: Some("carol"),
        };
        assert!(turns.take(whose, &active).await.is_err());
        held.clear();
        assert!(turns.take(whose, &active).await.is_ok());
    }

    #[test]
    fn calls_that_have_not_arrived_hold_few_turns() {
        let turns = turns();
        let whose = For {
            caller: Some(caller(1)),
            instance: Some("alice"),
        };
        let held: Vec<_> = (0..20).filter_map(|_| turns.try_early(whose)).collect();
        assert_eq!(held.len(), 1);
    }

    #[test]
    fn shares_without_users_are_swept() {
        let turns = turns();
        for number in 0..1000 {
            let instance = format!("instance-{number}");
            let whose = For {
                caller: None,
                instance: Some(&instance),
            };
            drop(turns.all.try_take(whose));
        }
        let instances = turns.all.instances.as_ref().unwrap();
        assert!(instances.kept.lock().unwrap().semaphores.len() <= 130);
    }
}
