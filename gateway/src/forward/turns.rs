//! Limits on calls at work: of one caller, of one instance and of a service.
//!
//! A call waits for its caller's turn first, then for its instance's, then for the service's: a busy caller holds no
//! turns of its instance, and a busy instance none of the service.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{
        Arc, LazyLock, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::active::{Active, Scope};
use crate::{Config, caller::CallerKey, refusal::Refusal};

/// How often a call that waits looks for one that its caller stalls.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// How many calls may be at work at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TurnLimits {
    pub(crate) service: usize,
    pub(crate) instance: Option<usize>,
    pub(crate) caller: Option<usize>,
    /// Calls a second of one instance.
    pub(crate) instance_rate: Option<u32>,
    /// Calls a second of one caller.
    pub(crate) caller_rate: Option<u32>,
    /// How long a call may wait.
    pub(crate) patience: Duration,
}

impl TurnLimits {
    /// Those of the public door.
    pub(crate) const fn of_public(config: &Config) -> Self {
        Self {
            service: config.limits.streams_per_service,
            instance: Some(config.limits.streams_per_instance),
            caller: Some(config.limits.streams_per_client),
            instance_rate: config.limits.rate_per_instance,
            caller_rate: config.limits.rate_per_client,
            patience: config.limits.queue_timeout,
        }
    }

    /// Those of what lasts at a backend: tunnels and event streams. One client and one instance have a half each.
    pub(crate) const fn of_lasting(config: &Config) -> Self {
        let all = config.limits.backend_tunnels;
        Self {
            service: all,
            instance: Some(all.div_ceil(2)),
            caller: Some(all.div_ceil(2)),
            instance_rate: None,
            caller_rate: None,
            patience: config.limits.queue_timeout,
        }
    }
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
    early: Option<Permits>,
}

impl Turn {
    /// Notes that the call's first message has arrived.
    pub(super) fn has_arrived(&mut self) {
        self.early = None;
    }
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
            all: Scopes {
                service: Arc::new(Semaphore::new(limits.service)),
                instances: limits
                    .instance
                    .map(|limit| Shares::new(limit, limits.instance_rate)),
                callers: limits
                    .caller
                    .map(|limit| Shares::new(limit, limits.caller_rate)),
            },
            early: Scopes {
                service: Arc::new(Semaphore::new(few(limits.service))),
                instances: limits.instance.map(|limit| Shares::new(few(limit), None)),
                callers: limits.caller.map(|limit| Shares::new(few(limit), None)),
            },
            patience: limits.patience,
        }
    }

    /// Counts a call against the rates of its caller and its instance.
    ///
    /// # Errors
    /// [`Refusal::TooFast`] for one that comes too early.
    pub(super) fn count(&self, whose: For<'_>) -> Result<(), Refusal> {
        self.all
            .count(whose)
            .map_err(|wait| Refusal::TooFast { wait })
    }

    /// A turn, if there is one now.
    pub(super) fn try_take(&self, whose: For<'_>) -> Option<Turn> {
        Some(Turn {
            _permits: self.all.try_take(whose)?,
            early: None,
        })
    }

    /// Waits for a turn. While it waits, calls that are stalled by their callers lose theirs.
    ///
    /// # Errors
    /// [`Refusal::TooManyCalls`] when it takes too long.
    pub(super) async fn wait(&self, whose: For<'_>, active: &Active) -> Result<Turn, Refusal> {
        let waiting = async {
            let mut taking = std::pin::pin!(self.all.take(whose));
            loop {
                match timeout(LOOK_EVERY, taking.as_mut()).await {
                    Ok(permits) => return permits,
                    Err(_still) => {
                        for scope in self.all.exhausted(whose) {
                            active.end_stalled(scope);
                        }
                    }
                }
            }
        };
        match timeout(self.patience, waiting).await {
            Ok(Some(permits)) => Ok(Turn {
                _permits: permits,
                early: None,
            }),
            Ok(None) | Err(_) => Err(Refusal::TooManyCalls),
        }
    }

    /// A turn for a call whose first message has not arrived, if there is one now.
    pub(super) fn try_early(&self, whose: For<'_>) -> Option<Turn> {
        let early = self.early.try_take(whose)?;
        Some(Turn {
            _permits: self.all.try_take(whose)?,
            early: Some(early),
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
    fn of(&self, whose: For<'_>) -> [Option<Arc<Semaphore>>; 2] {
        let caller = self.callers.as_ref().zip(whose.caller);
        let instance = self.instances.as_ref().zip(whose.instance);
        [
            caller.map(|(callers, key)| Arc::clone(&callers.of(&key, || key).turns)),
            instance.map(|(instances, id)| Arc::clone(&instances.of(id, || id.into()).turns)),
        ]
    }

    /// Counts a call. If it comes too early, says by how much.
    fn count(&self, whose: For<'_>) -> Result<(), Duration> {
        let now = now();
        if let Some((callers, key)) = self.callers.as_ref().zip(whose.caller)
            && callers.rate.interval > 0
        {
            callers.rate.count(&callers.of(&key, || key), now)?;
        }
        if let Some((instances, id)) = self.instances.as_ref().zip(whose.instance)
            && instances.rate.interval > 0
        {
            instances.rate.count(&instances.of(id, || id.into()), now)?;
        }
        Ok(())
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

    /// The scopes in which no turn is left. Who waits in one of them may itself hold the last turn of another.
    fn exhausted<'a>(&self, whose: For<'a>) -> impl Iterator<Item = Scope<'a>> {
        let [caller, instance] = self.of(whose);
        let is_out = |semaphore: &Arc<Semaphore>| semaphore.available_permits() == 0;
        let caller = caller.filter(is_out).and(whose.caller).map(Scope::Caller);
        let instance = instance
            .filter(is_out)
            .and(whose.instance)
            .map(Scope::Instance);
        let service = is_out(&self.service).then_some(Scope::Service);
        [caller, instance, service].into_iter().flatten()
    }
}

/// What each of many keys may use.
struct Shares<K> {
    limit: usize,
    rate: Rate,
    kept: Mutex<Kept<K>>,
}

struct Kept<K> {
    shares: HashMap<K, Arc<Share>>,
    sweep_at: usize,
}

/// What one key may use.
struct Share {
    turns: Arc<Semaphore>,
    /// When a call would be in time that comes after all earlier ones at the allowed rate, in microseconds since the
    /// start. This is the theoretical arrival time of the generic cell rate algorithm (ITU-T I.371).
    due: AtomicU64,
}

/// How many calls may begin in a second.
#[derive(Clone, Copy)]
struct Rate {
    /// The time of one call in microseconds; 0 for no limit.
    interval: u64,
}

/// How far calls may run ahead of their rate, in microseconds.
const BURST: u64 = 1_000_000;

impl Rate {
    fn new(calls_a_second: Option<u32>) -> Self {
        Self {
            interval: calls_a_second
                .map_or(0, |calls| (1_000_000 / u64::from(calls.max(1))).max(1)),
        }
    }

    /// Counts a call at the time `now`. If it comes too early, says by how much.
    fn count(self, share: &Share, now: u64) -> Result<(), Duration> {
        if self.interval == 0 {
            return Ok(());
        }
        let counted = share
            .due
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |due| {
                let next = due.max(now) + self.interval;
                (next <= now + BURST).then_some(next)
            });
        match counted {
            Ok(_) => Ok(()),
            Err(due) => Err(Duration::from_micros(
                (due + self.interval).saturating_sub(now + BURST),
            )),
        }
    }
}

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Microseconds since the start.
fn now() -> u64 {
    u64::try_from(START.elapsed().as_micros()).unwrap_or(u64::MAX)
}

impl<K: Eq + Hash> Shares<K> {
    fn new(limit: usize, calls_a_second: Option<u32>) -> Self {
        Self {
            limit,
            rate: Rate::new(calls_a_second),
            kept: Mutex::new(Kept {
                shares: HashMap::new(),
                sweep_at: 64,
            }),
        }
    }

    fn of<Q>(&self, key: &Q, own: impl FnOnce() -> K) -> Arc<Share>
    where
        K: std::borrow::Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(share) = kept.shares.get(key) {
            return Arc::clone(share);
        }
        if kept.shares.len() >= kept.sweep_at {
            let now = now();
            kept.shares.retain(|_, share| {
                share.turns.available_permits() < self.limit
                    || Arc::strong_count(share) > 1
                    || share.due.load(Ordering::Relaxed) > now
            });
            kept.sweep_at = kept.shares.len() * 2 + 64;
        }
        let share = Arc::new(Share {
            turns: Arc::new(Semaphore::new(self.limit)),
            due: AtomicU64::new(0),
        });
        kept.shares.insert(own(), Arc::clone(&share));
        share
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
            instance_rate: Some(100),
            caller_rate: Some(10),
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
        assert!(turns.wait(whose, &active).await.is_err());
        held.clear();
        assert!(turns.wait(whose, &active).await.is_ok());
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
        assert!(instances.kept.lock().unwrap().shares.len() <= 130);
    }

    #[test]
    fn a_rate_holds_over_any_time_and_lets_a_second_run_ahead() {
        let turns = turns();
        let callers = turns.all.callers.as_ref().unwrap();
        let share = callers.of(&caller(1), || caller(1));
        let passed = |from: u64, to: u64| {
            let times = (from..to).step_by(1000);
            times
                .filter(|now| callers.rate.count(&share, *now).is_ok())
                .count()
        };
        // A second ahead, then ten a second.
        assert_eq!(passed(0, 1_000_000), 19);
        assert_eq!(passed(1_000_000, 5_000_000), 40);
        assert!(callers.rate.count(&share, 5_000_000).is_ok());
        let early = callers.rate.count(&share, 5_000_001);
        assert!(early.is_err_and(|wait| wait <= Duration::from_millis(100)));
    }
}
