//! How many OAuth clients strangers may register.
//!
//! A registration is open to everybody, so it is counted by the network it comes from and by the instance that it is for, in
//! windows of an hour.

use std::{
    collections::HashMap,
    hash::Hash,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::tries::network;

/// The most windows that are remembered of networks, and of instances. Beyond it, the oldest is forgotten.
const REMEMBERED: usize = 10_000;
const WINDOW: Duration = Duration::from_secs(3600);
/// How many of one network are let through to one instance in a window.
const OF_NETWORK: u32 = 30;
/// How many of all networks together.
const OF_INSTANCE: u32 = 120;

#[derive(Clone, Copy, Debug)]
struct Window {
    begun: Instant,
    count: u32,
}

/// The registrations of everybody, in the memory of this process.
#[derive(Debug, Default)]
pub struct Allowance(Mutex<Windows>);

#[derive(Debug, Default)]
struct Windows {
    networks: HashMap<(IpAddr, String), Window>,
    instances: HashMap<String, Window>,
}

impl Allowance {
    /// Counts a registration, or a change of one.
    ///
    /// # Errors
    /// How long whoever asks has to wait.
    pub fn take(&self, address: IpAddr, instance: &str, now: Instant) -> Result<(), Duration> {
        let mut windows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Windows {
            networks,
            instances,
        } = &mut *windows;
        let of_network = (network(address), instance.to_owned());
        left(networks.get(&of_network), OF_NETWORK, now)?;
        left(instances.get(instance), OF_INSTANCE, now)?;
        count(networks, of_network, now);
        count(instances, instance.to_owned(), now);
        Ok(())
    }
}

/// Whether a window has room.
fn left(window: Option<&Window>, most: u32, now: Instant) -> Result<(), Duration> {
    let Some(window) = window else {
        return Ok(());
    };
    let wait = (window.begun + WINDOW).saturating_duration_since(now);
    if wait.is_zero() || window.count < most {
        Ok(())
    } else {
        Err(wait)
    }
}

fn count<K: Clone + Eq + Hash>(windows: &mut HashMap<K, Window>, key: K, now: Instant) {
    if windows.len() >= REMEMBERED && !windows.contains_key(&key) {
        windows.retain(|_, window| now.duration_since(window.begun) < WINDOW);
        let oldest = windows.iter().min_by_key(|(_, window)| window.begun);
        if windows.len() >= REMEMBERED
            && let Some(oldest) = oldest.map(|(key, _)| key.clone())
        {
            windows.remove(&oldest);
        }
    }
    let window = windows.entry(key).or_insert(Window {
        begun: now,
        count: 0,
    });
    if now.duration_since(window.begun) >= WINDOW {
        *window = Window {
            begun: now,
            count: 0,
        };
    }
    window.count = window.count.saturating_add(1);
}

#[cfg(test)]
mod tests {
    use std::{
        net::{IpAddr, Ipv6Addr},
        time::{Duration, Instant},
    };

    use super::{Allowance, OF_INSTANCE, OF_NETWORK, REMEMBERED, WINDOW};

    fn address(network: u128) -> IpAddr {
        Ipv6Addr::from_bits(network << 64).into()
    }

    #[test]
    fn a_network_has_its_share_of_an_hour_and_an_instance_an_end() {
        let allowance = Allowance::default();
        let now = Instant::now();
        let take = |network, instance, now| allowance.take(address(network), instance, now).is_ok();
        let of_one = (0..1000).filter(|_| take(1, "a", now)).count();
        assert_eq!(of_one, OF_NETWORK as usize);
        assert!(take(1, "b", now));
        let of_all = (2..1000).filter(|network| take(*network, "a", now)).count();
        assert_eq!(of_all, (OF_INSTANCE - OF_NETWORK) as usize);
        let wait = allowance.take(address(1), "a", now + Duration::from_secs(60));
        assert_eq!(wait, Err(WINDOW - Duration::from_secs(60)));
        assert!(take(1, "a", now + WINDOW));
    }

    #[test]
    fn the_memory_is_bounded() {
        let allowance = Allowance::default();
        for network in 0..REMEMBERED + 10 {
            let instance = network.to_string();
            assert!(
                allowance
                    .take(address(network as u128), &instance, Instant::now())
                    .is_ok()
            );
        }
        let windows = allowance.0.lock().map(|it| it.instances.len());
        assert_eq!(windows.ok(), Some(REMEMBERED));
    }
}
