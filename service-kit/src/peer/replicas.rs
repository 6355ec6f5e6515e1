//! The replicas of a service: their addresses, their order, and which ones are left out for a while.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::uri::Authority;
use tokio::time::Instant;

use super::address::{Address, Addresses};

/// How often names are resolved again.
const LOOK_UP_EVERY: Duration = Duration::from_secs(5);
/// How long a DNS look-up may take.
const LOOK_UP_WITHIN: Duration = Duration::from_secs(2);
/// How long a replica that failed is left out at first, and at most.
const LEFT_OUT: Duration = Duration::from_millis(250);
const LEFT_OUT_AT_MOST: Duration = Duration::from_secs(10);

/// The replicas of one service, each with connections of type `C`. Clones share them.
pub struct Replicas<C>(Arc<Inner<C>>);

impl<C> Clone for Replicas<C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

struct Inner<C> {
    addresses: Addresses,
    make: Box<dyn Fn() -> C + Send + Sync>,
    turn: AtomicUsize,
    known: Mutex<Known<C>>,
}

struct Known<C> {
    replicas: Arc<[Arc<Replica<C>>]>,
    looked_up: Option<Instant>,
}

/// One replica.
pub struct Replica<C> {
    address: SocketAddr,
    /// The index of the configured address that resolved to it.
    of: usize,
    host: String,
    authority: Authority,
    /// Its connections.
    pub connections: C,
    standing: Mutex<Standing>,
}

#[derive(Default)]
struct Standing {
    failures: u32,
    left_out_until: Option<Instant>,
}

impl<C> Replica<C> {
    /// Its address.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its configured host, for TLS.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Its configured host and port, for `:authority`.
    #[must_use]
    pub const fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Records a failure: other replicas are preferred for a while, longer with each failure in a row.
    pub fn failed(&self) {
        let mut standing = self.standing();
        let left_out = LEFT_OUT
            .saturating_mul(1 << standing.failures.min(10))
            .min(LEFT_OUT_AT_MOST);
        standing.failures = standing.failures.saturating_add(1);
        standing.left_out_until = Some(Instant::now() + left_out);
    }

    /// Records an answer.
    pub fn worked(&self) {
        *self.standing() = Standing::default();
    }

    fn left_out_until(&self) -> Option<Instant> {
        self.standing().left_out_until
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C: Send + Sync + 'static> Replicas<C> {
    /// The replicas at `addresses`. `make` is called once a replica.
    pub fn new(addresses: Addresses, make: impl Fn() -> C + Send + Sync + 'static) -> Self {
        Self(Arc::new(Inner {
            addresses,
            make: Box::new(make),
            turn: AtomicUsize::new(0),
            known: Mutex::new(Known {
                replicas: Arc::default(),
                looked_up: None,
            }),
        }))
    }

    /// The next replica in turn, except those in `tried`. Replicas that failed lately come last. `None` when
    /// all were tried, or none is known.
    pub async fn pick(&self, tried: &[SocketAddr]) -> Option<Arc<Replica<C>>> {
        let now = Instant::now();
        let (known, due) = {
            let mut known = self.0.known();
            let due = known
                .looked_up
                .is_none_or(|at| now.duration_since(at) >= LOOK_UP_EVERY);
            if due {
                // Set before the look-up, so that the next call does not start another one.
                known.looked_up = Some(now);
            }
            (Arc::clone(&known.replicas), due)
        };
        let known = if known.is_empty() {
            self.0.look_up().await;
            Arc::clone(&self.0.known().replicas)
        } else {
            if due {
                let inner = Arc::clone(&self.0);
                tokio::spawn(async move { inner.look_up().await });
            }
            known
        };
        let turn = self.0.turn.fetch_add(1, Ordering::Relaxed);
        choose(&known, tried, turn, now)
    }
}

/// Takes turns among the healthy replicas; without one, the replica that has been left out longest.
fn choose<C>(
    known: &[Arc<Replica<C>>],
    tried: &[SocketAddr],
    turn: usize,
    now: Instant,
) -> Option<Arc<Replica<C>>> {
    let is_well = |replica: &&Arc<Replica<C>>| {
        !tried.contains(&replica.address)
            && replica.left_out_until().is_none_or(|until| now >= until)
    };
    let well = known.iter().filter(is_well).count();
    if well > 0 {
        // One may have failed between the two looks; then the first of the others is as good.
        let chosen = known.iter().filter(is_well).nth(turn % well);
        return chosen
            .or_else(|| known.iter().find(is_well))
            .map(Arc::clone);
    }
    let others = known
        .iter()
        .filter(|replica| !tried.contains(&replica.address));
    others
        .min_by_key(|replica| replica.left_out_until())
        .map(Arc::clone)
}

impl<C> Inner<C> {
    fn known(&self) -> MutexGuard<'_, Known<C>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Resolves the addresses. Replicas that are still there keep their connections; a name that cannot be
    /// resolved keeps its replicas.
    async fn look_up(&self) {
        for (of, address) in self.addresses.0.iter().enumerate() {
            let found = match look_up(address).await {
                Ok(found) => found,
                Err(error) => {
                    tracing::warn!(host = address.host, %error, "the name of a service cannot be looked up");
                    continue;
                }
            };
            let mut known = self.known();
            let kept = known
                .replicas
                .iter()
                .filter(|replica| replica.of != of || found.contains(&replica.address));
            let mut replicas: Vec<_> = kept.map(Arc::clone).collect();
            for address_found in found {
                let there = |replica: &Arc<Replica<C>>| replica.address == address_found;
                if replicas.iter().any(there) {
                    continue;
                }
                replicas.push(Arc::new(Replica {
                    address: address_found,
                    of,
                    host: address.host.clone(),
                    authority: address.authority.clone(),
                    connections: (self.make)(),
                    standing: Mutex::default(),
                }));
            }
            known.replicas = replicas.into();
        }
    }
}

async fn look_up(address: &Address) -> std::io::Result<Vec<SocketAddr>> {
    let looking = tokio::net::lookup_host((address.host.as_str(), address.port));
    let found = tokio::time::timeout(LOOK_UP_WITHIN, looking).await??;
    Ok(found.collect())
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use super::{Addresses, Replicas};

    fn three() -> Replicas<()> {
        let addresses = "http://127.0.0.1:1,http://127.0.0.1:2,http://127.0.0.1:3";
        Replicas::new(Addresses::parse(addresses, false).unwrap(), || ())
    }

    async fn ports(replicas: &Replicas<()>, picks: usize) -> Vec<u16> {
        let mut ports = Vec::new();
        for _ in 0..picks {
            ports.push(replicas.pick(&[]).await.unwrap().address().port());
        }
        ports.sort_unstable();
        ports
    }

    #[tokio::test]
    async fn replicas_take_turns() {
        assert_eq!(ports(&three(), 6).await, [1, 1, 2, 2, 3, 3]);
    }

    #[tokio::test]
    async fn a_failed_replica_is_left_out_until_it_works_again() {
        let replicas = three();
        let bad = replicas.pick(&[]).await.unwrap();
        for _ in 0..20 {
            bad.failed();
        }
        assert!(!ports(&replicas, 12).await.contains(&bad.address().port()));
        bad.worked();
        assert!(ports(&replicas, 12).await.contains(&bad.address().port()));
    }

    #[tokio::test]
    async fn when_all_failed_the_one_that_failed_first_is_tried() {
        let replicas = three();
        let mut tried = Vec::new();
        for _ in 0..3 {
            let replica = replicas.pick(&tried).await.unwrap();
            replica.failed();
            tried.push(replica.address());
        }
        assert!(replicas.pick(&tried).await.is_none());
        let again = replicas.pick(&[]).await.unwrap();
        assert_eq!(Some(&again.address()), tried.first());
    }
}
