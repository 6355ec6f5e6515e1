//! How often somebody may try a passphrase.
//!
//! A try is counted when it begins, so that many at once are counted like many in a row, and is taken back when it was
//! right. It counts for the address it came from and for the instance. After some free tries each further one has to wait,
//! twice as long each time; who does not wait is refused unseen. A browser from which the owner has logged in before is
//! counted by itself alone: whatever strangers do, the owner comes in from there.
//!
//! Replicas count for themselves. When a counter has no free tries left, a replica tells the others ([`Tries::steps`]), who
//! count no fewer ([`Tries::learn`]). So guessing at several replicas gains the free tries of each, and nothing more.

use std::{
    collections::HashMap,
    hash::Hash,
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use ring::digest::{SHA256, digest};

use crate::secrets::Device;

/// The most addresses, instances and devices that are remembered, each. Beyond it, the one whose last try is oldest is
/// forgotten.
const REMEMBERED: usize = 10_000;

/// The rules of one counter.
#[derive(Clone, Copy, Debug)]
struct Rule {
    /// How many wrong tries are free.
    free: u32,
    /// The wait before the first further try.
    first: Duration,
    /// The longest wait.
    longest: Duration,
    /// After so long without a try, the counter begins anew.
    forgotten: Duration,
}

const ADDRESS: Rule = Rule {
    free: 10,
    first: Duration::from_millis(500),
    longest: Duration::from_secs(60),
    forgotten: Duration::from_secs(15 * 60),
};
/// Many addresses can try together, and an owner at a new browser waits with them: so it is slower to begin, and shorter.
const INSTANCE: Rule = Rule {
    free: 50,
    first: Duration::from_millis(250),
    longest: Duration::from_secs(10),
    forgotten: Duration::from_secs(15 * 60),
};
const DEVICE: Rule = Rule {
    free: 20,
    first: Duration::from_millis(500),
    longest: Duration::from_secs(30),
    forgotten: Duration::from_secs(15 * 60),
};

/// The time over which wrong tries of an instance are counted for those who want it blocked.
const HOUR: Duration = Duration::from_secs(3600);

/// Who tries.
#[derive(Clone, Copy, Debug)]
pub struct Guesser<'a> {
    /// The address that the try comes from.
    pub address: IpAddr,
    /// The id of the instance that it is for.
    pub instance: &'a str,
    /// The browser, when the owner has logged in from it before.
    pub device: Option<Device>,
}

#[derive(Clone, Copy, Debug)]
struct Wrong {
    tries: u32,
    last: Instant,
}

/// What another replica tells of a counter.
#[derive(Clone, Copy, Debug)]
pub struct Told {
    /// How many tries were wrong.
    pub tries: u32,
    /// How long ago the last of them was.
    pub age: Duration,
}

/// The tries of everybody, in the memory of this process.
#[derive(Debug, Default)]
pub struct Tries(Mutex<Counters>);

#[derive(Debug, Default)]
struct Counters {
    addresses: HashMap<IpAddr, Wrong>,
    instances: HashMap<String, Wrong>,
    devices: HashMap<(String, Device), Wrong>,
    /// The wrong tries of an instance, since the first of an hour.
    failures: HashMap<String, Wrong>,
}

impl Tries {
    /// Begins a try, which counts as a wrong one until [`Self::was_right`].
    ///
    /// # Errors
    /// How long the guesser has to wait.
    pub fn begin(&self, guesser: Guesser<'_>, now: Instant) -> Result<(), Duration> {
        let mut counters = self.counters();
        let Counters {
            addresses,
            instances,
            devices,
            ..
        } = &mut *counters;
        let instance = guesser.instance.to_owned();
        if let Some(device) = guesser.device {
            let key = (instance, device);
            wait(devices, &key, DEVICE, now)?;
            count(devices, key, DEVICE, now);
            return Ok(());
        }
        let address = network(guesser.address);
        wait(addresses, &address, ADDRESS, now)?;
        wait(instances, &instance, INSTANCE, now)?;
        let of_address = count(addresses, address, ADDRESS, now);
        // One address alone must not make others wait: who waits already is slow enough.
        if of_address <= ADDRESS.free {
            count(instances, instance, INSTANCE, now);
        }
        Ok(())
    }

    /// The counters of a guesser that have no free tries left: their names, and how many tries were wrong. A known device is
    /// slowed by the replica that it uses, and tells nobody.
    pub fn steps(&self, guesser: Guesser<'_>) -> Vec<(String, u32)> {
        if guesser.device.is_some() {
            return Vec::new();
        }
        let counters = self.counters();
        let address = network(guesser.address);
        let of_address = counters.addresses.get(&address);
        let of_instance = counters.instances.get(guesser.instance);
        let [address, instance] = names(guesser);
        [
            (address, of_address, ADDRESS),
            (instance, of_instance, INSTANCE),
        ]
        .into_iter()
        .filter_map(|(name, wrong, rule)| {
            let tries = wrong?.tries;
            (tries >= rule.free).then_some((name, tries))
        })
        .collect()
    }

    /// Counts no fewer tries of a guesser than other replicas have. `told` is what they say of a counter.
    pub fn learn(&self, guesser: Guesser<'_>, told: impl Fn(&str) -> Option<Told>, now: Instant) {
        if guesser.device.is_some() {
            return;
        }
        let [address, instance] = names(guesser);
        let mut counters = self.counters();
        if let Some(told) = told(&address) {
            let address = network(guesser.address);
            raise(&mut counters.addresses, &address, told, ADDRESS, now);
        }
        if let Some(told) = told(&instance) {
            let instance = guesser.instance.to_owned();
            raise(&mut counters.instances, &instance, told, INSTANCE, now);
        }
    }

    /// Takes a try back, because it was right. The earlier ones of a device are forgotten. Those of an address are not: its
    /// user may have an instance of their own, and guess at others.
    pub fn was_right(&self, guesser: Guesser<'_>) {
        let mut counters = self.counters();
        if let Some(device) = guesser.device {
            counters
                .devices
                .remove(&(guesser.instance.to_owned(), device));
            return;
        }
        let address = network(guesser.address);
        let address = counters.addresses.get_mut(&address);
        let mut was_counted = false;
        if let Some(wrong) = address {
            was_counted = wrong.tries <= ADDRESS.free;
            wrong.tries = wrong.tries.saturating_sub(1);
        }
        if was_counted && let Some(wrong) = counters.instances.get_mut(guesser.instance) {
            wrong.tries = wrong.tries.saturating_sub(1);
        }
    }

    /// Notes that a try was wrong. Returns how many were at this instance, by anybody, in the hour that began with the first
    /// of them.
    pub fn was_wrong(&self, instance: &str, now: Instant) -> u32 {
        let failures = &mut self.counters().failures;
        if failures.len() >= REMEMBERED && !failures.contains_key(instance) {
            failures.retain(|_, wrong| now.duration_since(wrong.last) < HOUR);
            let oldest = failures.iter().min_by_key(|(_, wrong)| wrong.last);
            if failures.len() >= REMEMBERED
                && let Some(oldest) = oldest.map(|(key, _)| key.clone())
            {
                failures.remove(&oldest);
            }
        }
        let wrong = failures.entry(instance.to_owned()).or_insert(Wrong {
            tries: 0,
            last: now,
        });
        // Here it is the time of the first.
        if now.duration_since(wrong.last) >= HOUR {
            *wrong = Wrong {
                tries: 0,
                last: now,
            };
        }
        wrong.tries = wrong.tries.saturating_add(1);
        wrong.tries
    }

    fn counters(&self) -> MutexGuard<'_, Counters> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An address of IPv4, or a network of IPv6 as one customer gets it.
#[must_use]
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into()
        }
    }
}

/// The names of the counters of a guesser, of its address and of the instance. Who reads them learns no address.
fn names(guesser: Guesser<'_>) -> [String; 2] {
    let address = network(guesser.address).to_string();
    [
        ("address", address.as_str()),
        ("instance", guesser.instance),
    ]
    .map(|(kind, of)| {
        let text = format!("{kind} {of}");
        hex::encode(digest(&SHA256, text.as_bytes()))
    })
}

/// To hear of tries is none: the wait goes on from the last of them.
fn raise<K: Clone + Eq + Hash>(
    counters: &mut HashMap<K, Wrong>,
    key: &K,
    told: Told,
    rule: Rule,
    now: Instant,
) {
    let known = counters.get(key).copied();
    if told.tries <= known.map_or(0, |wrong| wrong.tries) {
        return;
    }
    count(counters, key.clone(), rule, now);
    if let Some(wrong) = counters.get_mut(key) {
        let last = now.checked_sub(told.age).unwrap_or(now);
        wrong.tries = told.tries;
        wrong.last = known.map_or(last, |known| known.last.max(last));
    }
}

fn wait<K: Eq + Hash>(
    counters: &HashMap<K, Wrong>,
    key: &K,
    rule: Rule,
    now: Instant,
) -> Result<(), Duration> {
    let Some(wrong) = counters.get(key) else {
        return Ok(());
    };
    let Some(further) = wrong.tries.checked_sub(rule.free) else {
        return Ok(());
    };
    let wait = rule
        .first
        .saturating_mul(1 << further.min(20))
        .min(rule.longest);
    let left = (wrong.last + wait).saturating_duration_since(now);
    if left.is_zero() { Ok(()) } else { Err(left) }
}

fn count<K: Clone + Eq + Hash>(
    counters: &mut HashMap<K, Wrong>,
    key: K,
    rule: Rule,
    now: Instant,
) -> u32 {
    if counters.len() >= REMEMBERED && !counters.contains_key(&key) {
        counters.retain(|_, wrong| now.duration_since(wrong.last) < rule.forgotten);
        let oldest = counters.iter().min_by_key(|(_, wrong)| wrong.last);
        if counters.len() >= REMEMBERED
            && let Some(oldest) = oldest.map(|(key, _)| key.clone())
        {
            counters.remove(&oldest);
        }
    }
    let wrong = counters.entry(key).or_insert(Wrong {
        tries: 0,
        last: now,
    });
    if now.duration_since(wrong.last) >= rule.forgotten {
        wrong.tries = 0;
    }
    wrong.tries = wrong.tries.saturating_add(1);
    wrong.last = now;
    wrong.tries
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use std::{
        net::{IpAddr, Ipv4Addr, Ipv6Addr},
        time::{Duration, Instant},
    };

    use super::{Guesser, REMEMBERED, Told, Tries};
    use crate::secrets::Device;

    fn at(address: IpAddr) -> Guesser<'static> {
        Guesser {
            address,
            instance: "it",
            device: None,
        }
    }

    fn address(last: u8) -> IpAddr {
        Ipv4Addr::new(192, 0, 2, last).into()
    }

    /// How many of tries every 10 ms for an hour are let through.
    fn let_through(tries: &Tries, guesser: impl Fn(u32) -> Guesser<'static>) -> u32 {
        let start = Instant::now();
        let mut count = 0;
        for number in 0..360_000 {
            let now = start + Duration::from_millis(u64::from(number) * 10);
            count += u32::from(tries.begin(guesser(number), now).is_ok());
        }
        count
    }

    #[test]
    fn a_guesser_waits_and_others_do_not() {
        let tries = Tries::default();
        let count = let_through(&tries, |_| at(address(1)));
        assert!((60..100).contains(&count), "{count}");
        assert!(tries.begin(at(address(2)), Instant::now()).is_ok());
    }

    #[test]
    fn many_addresses_together_are_slowed_and_a_known_device_is_not() {
        let tries = Tries::default();
        let spread = |number: u32| at(Ipv6Addr::from_bits(u128::from(number) << 64).into());
        let count = let_through(&tries, spread);
        assert!((300..500).contains(&count), "{count}");
        let owner = Guesser {
            device: Some(Device::draw().unwrap()),
            ..at(address(1))
        };
        let now = Instant::now() + Duration::from_secs(3600);
        let _ = tries.begin(at(address(1)), now);
        assert!(tries.begin(at(address(2)), now).is_err());
        for _ in 0..10 {
            assert!(tries.begin(owner, now).is_ok());
        }
        tries.was_right(owner);
        // A device has an end of its allowance, too: its cookie may be stolen.
        let allowed = (0..100).filter(|_| tries.begin(owner, now).is_ok()).count();
        assert_eq!(allowed, 20);
    }

    #[test]
    fn right_tries_cost_nothing() {
        let tries = Tries::default();
        let now = Instant::now();
        for _ in 0..1000 {
            assert!(tries.begin(at(address(1)), now).is_ok());
            tries.was_right(at(address(1)));
        }
    }

    #[test]
    fn wrong_tries_of_an_hour_are_counted_together() {
        let tries = Tries::default();
        let now = Instant::now();
        for count in 1..=3 {
            assert_eq!(tries.was_wrong("it", now), count);
        }
        assert_eq!(tries.was_wrong("other", now), 1);
        let later = now + Duration::from_secs(3599);
        assert_eq!(tries.was_wrong("it", later), 4);
        assert_eq!(tries.was_wrong("it", later + Duration::from_secs(1)), 1);
    }

    #[test]
    fn the_memory_is_bounded() {
        let tries = Tries::default();
        let now = Instant::now();
        for number in 0..REMEMBERED + 100 {
            let guesser = Guesser {
                instance: &number.to_string(),
                ..at(Ipv6Addr::from_bits((number as u128) << 64).into())
            };
            assert!(tries.begin(guesser, now).is_ok());
        }
        let counters = tries.counters();
        assert_eq!(counters.addresses.len(), REMEMBERED);
        assert_eq!(counters.instances.len(), REMEMBERED);
    }

    #[test]
    fn what_one_replica_has_seen_slows_the_guesser_at_another() {
        let [one, two] = [Tries::default(), Tries::default()];
        let (now, stranger) = (Instant::now(), at(address(1)));
        for _ in 0..10 {
            assert!(one.steps(stranger).is_empty());
            one.begin(stranger, now).unwrap();
        }
        let told = one.steps(stranger);
        assert_eq!(
            told.len(),
            1,
            "only the counter of the address is at its limit"
        );
        let find = |name: &str| {
            told.iter()
                .find(|(it, _)| it == name)
                .map(|(_, tries)| Told {
                    tries: *tries,
                    age: Duration::ZERO,
                })
        };
        two.learn(stranger, find, now);
        assert!(two.begin(stranger, now).is_err());
        // Others are as free as before, and so is the owner at a known browser.
        let other = at(address(2));
        two.learn(other, find, now);
        assert!(two.begin(other, now).is_ok());
        let known = Guesser {
            device: Some(Device::draw().unwrap()),
            ..stranger
        };
        two.learn(known, find, now);
        assert!(two.begin(known, now).is_ok());
        assert!(two.steps(known).is_empty());
        // What is less than this replica has counted itself changes nothing.
        let less = Told {
            tries: 1,
            age: Duration::ZERO,
        };
        two.learn(stranger, |_| Some(less), now);
        assert!(two.begin(stranger, now).is_err());
    }

    #[test]
    fn to_hear_of_tries_makes_nobody_wait_who_has_waited() {
        let tries = Tries::default();
        let (now, stranger) = (Instant::now(), at(address(1)));
        let told = |tries, seconds| {
            let age = Duration::from_secs(seconds);
            move |_: &str| Some(Told { tries, age })
        };
        // After 15 wrong tries, the wait is 16 seconds, from the last of them.
        tries.learn(stranger, told(15, 10), now);
        let left = tries.begin(stranger, now).unwrap_err();
        assert_eq!(left, Duration::from_secs(6));
        let now = now + left;
        tries.begin(stranger, now).unwrap();
        tries.was_right(stranger);
        // A try more than is known here, a minute later: 32 seconds.
        let now = now + Duration::from_secs(60);
        tries.learn(stranger, told(16, 60), now);
        tries.begin(stranger, now).unwrap();
    }
}
