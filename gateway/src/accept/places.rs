//! The connections of a door: how many there may be, and which one goes when there are too many.
//!
//! A full door closes the connection that has been idle longest, among those that are looked at: looking at all of them
//! for each new one would cost more than what is defended against. This is the sampling of caches that approximate LRU.

use std::{
    collections::HashMap,
    sync::{
        Arc, LazyLock, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use service_kit::telemetry::{self, InUse};
use tokio::{sync::Notify, time::sleep};

use crate::caller::CallerKey;

/// How many connections are looked at to find one that is idle.
const SAMPLE: usize = 32;

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

fn now() -> u64 {
    u64::try_from(START.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// The limits of a door.
#[derive(Clone, Copy, Debug)]
pub(super) struct PlaceLimits {
    pub(super) all: usize,
    /// Of one client.
    pub(super) one: usize,
}

/// The connections of a door.
pub(super) struct Places {
    /// The name of the door.
    door: &'static str,
    limits: PlaceLimits,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    all: Vec<Arc<Place>>,
    by_client: HashMap<CallerKey, Vec<Arc<Place>>>,
}

/// The place of one connection.
pub(super) struct Place {
    client: CallerKey,
    /// Its index among all connections, and among those of its client. Changed under the lock of [`Places`] only.
    at: AtomicUsize,
    at_client: AtomicUsize,
    is_gone: AtomicBool,
    /// Requests at work.
    busy: AtomicU32,
    was_used: AtomicBool,
    /// When the last request ended, or the connection began, in milliseconds since the start.
    idle_since: AtomicU64,
    evicted: Notify,
}

/// A connection at its place, which is given back when this is dropped.
pub(crate) struct Connection {
    places: Arc<Places>,
    place: Arc<Place>,
    _counted: InUse,
}

/// A request at work; its connection is not idle until this is dropped.
pub(crate) struct Busy(Arc<Place>);

impl Places {
    pub(super) fn new(door: &'static str, limits: PlaceLimits) -> Self {
        telemetry::door_opens(door);
        Self {
            door,
            limits,
            taken: Mutex::default(),
        }
    }

    /// Takes a place for a connection of `client`, that of another one if need be. `None` when all are busy.
    pub(super) fn enter(self: &Arc<Self>, client: CallerKey) -> Option<Connection> {
        let mut taken = self.taken();
        let own = taken.by_client.get(&client).map_or(0, Vec::len);
        let idlest = if own >= self.limits.one {
            Some(taken.by_client.get(&client).and_then(|own| idlest(own)))
        } else if taken.all.len() >= self.limits.all {
            Some(idlest(&taken.all))
        } else {
            None
        };
        if let Some(idlest) = idlest {
            let idlest = idlest?;
            taken.remove(&idlest);
            idlest.evicted.notify_one();
        }
        let place = Arc::new(Place {
            client,
            at: AtomicUsize::new(taken.all.len()),
            at_client: AtomicUsize::new(0),
            is_gone: AtomicBool::new(false),
            busy: AtomicU32::new(0),
            was_used: AtomicBool::new(false),
            idle_since: AtomicU64::new(now()),
            evicted: Notify::new(),
        });
        taken.all.push(Arc::clone(&place));
        let own = taken.by_client.entry(client).or_default();
        place.at_client.store(own.len(), Ordering::Relaxed);
        own.push(Arc::clone(&place));
        Some(Connection {
            places: Arc::clone(self),
            place,
            _counted: telemetry::door_connection(self.door),
        })
    }

    /// Closes the idlest connection, because the process has no room for another one.
    pub(super) fn make_room(&self) {
        let mut taken = self.taken();
        if let Some(idlest) = idlest(&taken.all) {
            taken.remove(&idlest);
            idlest.evicted.notify_one();
        }
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The connection without requests that has been idle longest, of a sample.
fn idlest(places: &[Arc<Place>]) -> Option<Arc<Place>> {
    let sample = (0..SAMPLE.min(places.len() * 2)).filter_map(|turn| {
        let all = places.len() <= SAMPLE;
        let at = if all {
            turn
        } else {
            fastrand::usize(..places.len())
        };
        places.get(at)
    });
    sample
        .filter(|place| place.busy.load(Ordering::Relaxed) == 0)
        .min_by_key(|place| place.idle_since.load(Ordering::Relaxed))
        .map(Arc::clone)
}

impl Taken {
    fn remove(&mut self, place: &Arc<Place>) {
        if place.is_gone.swap(true, Ordering::Relaxed) {
            return;
        }
        let at = place.at.load(Ordering::Relaxed);
        self.all.swap_remove(at);
        if let Some(moved) = self.all.get(at) {
            moved.at.store(at, Ordering::Relaxed);
        }
        let Some(own) = self.by_client.get_mut(&place.client) else {
            return;
        };
        let at = place.at_client.load(Ordering::Relaxed);
        own.swap_remove(at);
        if let Some(moved) = own.get(at) {
            moved.at_client.store(at, Ordering::Relaxed);
        }
        if own.is_empty() {
            self.by_client.remove(&place.client);
        }
    }
}

impl Connection {
    pub(super) const fn place(&self) -> &Arc<Place> {
        &self.place
    }

    /// Counts the connection as a tunnel.
    pub(crate) fn becomes_tunnel(&self) -> InUse {
        telemetry::door_tunnel(self.places.door)
    }

    /// Notes that something is at work on the connection.
    pub(crate) fn begin(&self) -> Busy {
        self.place.begin()
    }

    /// Returns when the connection has to end: another one has taken its place.
    pub(crate) async fn over(&self) {
        self.place.evicted().await;
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.places.taken().remove(&self.place);
    }
}

impl Place {
    /// Notes that a request begins.
    pub(super) fn begin(self: &Arc<Self>) -> Busy {
        self.busy.fetch_add(1, Ordering::Relaxed);
        self.was_used.store(true, Ordering::Relaxed);
        Busy(Arc::clone(self))
    }

    /// Returns when the connection has been idle for `limit`, or for `first` before its first request.
    pub(super) async fn idle(&self, first: Duration, limit: Duration) {
        loop {
            let limit = if self.was_used.load(Ordering::Relaxed) {
                limit
            } else {
                first.min(limit)
            };
            // While a request is at work, its end is not noticed at once.
            let mut left = (limit / 4).max(Duration::from_millis(100));
            if self.busy.load(Ordering::Relaxed) == 0 {
                let since = Duration::from_millis(self.idle_since.load(Ordering::Relaxed));
                left = (since + limit).saturating_sub(START.elapsed());
                if left.is_zero() {
                    return;
                }
            }
            sleep(left).await;
        }
    }

    /// Returns when another connection has taken this place.
    pub(super) async fn evicted(&self) {
        self.evicted.notified().await;
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.idle_since.store(now(), Ordering::Relaxed);
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use std::{net::Ipv4Addr, sync::Arc, time::Duration};

    use proptest::prelude::*;

    use super::{PlaceLimits, Places};
    use crate::caller::CallerKey;

    fn client(number: u8) -> CallerKey {
        CallerKey::of(Ipv4Addr::new(192, 0, 2, number).into())
    }

    #[tokio::test]
    async fn a_full_door_closes_the_idlest_connection() {
        let places = Arc::new(Places::new("public", PlaceLimits { all: 3, one: 3 }));
        let idle = places.enter(client(1)).unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
        let others = [
            places.enter(client(2)).unwrap(),
            places.enter(client(3)).unwrap(),
        ];
        let busy = others.each_ref().map(|other| other.place().begin());
        let _new = places.enter(client(4)).unwrap();
        idle.place().evicted().await;
        drop(idle);
        let _another = places.enter(client(5)).unwrap();
        assert_eq!(places.taken().all.len(), 3);
        drop(busy);
    }

    #[test]
    fn one_client_has_fewer_connections_and_busy_ones_stay() {
        let places = Arc::new(Places::new("public", PlaceLimits { all: 10, one: 2 }));
        let own = [
            places.enter(client(1)).unwrap(),
            places.enter(client(1)).unwrap(),
        ];
        let busy = own.each_ref().map(|own| own.place().begin());
        assert!(places.enter(client(1)).is_none());
        assert!(places.enter(client(2)).is_some());
        drop(busy);
        assert!(places.enter(client(1)).is_some());
    }

    proptest! {
        #[test]
        fn the_books_agree_after_any_coming_and_going(steps in prop::collection::vec((0_u8..6, any::<bool>(), 0_usize..8), 0..200)) {
            let places = Arc::new(Places::new("public", PlaceLimits { all: 7, one: 3 }));
            let mut held = Vec::new();
            for (number, enters, at) in steps {
                if enters {
                    held.extend(places.enter(client(number)));
                } else if at < held.len() {
                    held.swap_remove(at);
                }
                let taken = places.taken();
                prop_assert!(taken.all.len() <= 7);
                prop_assert_eq!(taken.all.len(), taken.by_client.values().map(Vec::len).sum::<usize>());
                for own in taken.by_client.values() {
                    prop_assert!((1..=3).contains(&own.len()));
                }
            }
            held.clear();
            prop_assert!(places.taken().all.is_empty() && places.taken().by_client.is_empty());
        }
    }
}
