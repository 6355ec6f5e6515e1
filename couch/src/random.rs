//! Random numbers for pauses, from a seed in tests.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A generator of random numbers and pauses. Not for secrets.
#[derive(Debug)]
pub(crate) struct Random(AtomicU64);

impl Random {
    pub(crate) fn new(seed: Option<u64>) -> Self {
        Self(AtomicU64::new(seed.unwrap_or_else(entropy)))
    }

    /// The next number of Sebastiano Vigna's `SplitMix64` (public domain).
    pub(crate) fn next_u64(&self) -> u64 {
        const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut z = self
            .0
            .fetch_add(GOLDEN, Ordering::Relaxed)
            .wrapping_add(GOLDEN);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A pause of `from..=to` milliseconds.
    pub(crate) fn millis(&self, from: u64, to: u64) -> Duration {
        let span = to.saturating_sub(from).saturating_add(1);
        Duration::from_millis(from.saturating_add(self.next_u64() % span))
    }

    /// The pause before repeat `attempt`, counted from 1. Its upper bound doubles from 50 ms up to `longest`.
    /// The pause is random in the upper half of the bound, so that many clients do not retry together.
    pub(crate) fn backoff(&self, attempt: u32, longest: Duration) -> Duration {
        let longest = u64::try_from(longest.as_millis()).unwrap_or(u64::MAX);
        let full = (25_u64 << attempt.min(16)).min(longest).max(2);
        self.millis(full / 2, full)
    }
}

/// 64 random bits of the system, or bits of clock and counter if the system provides none. Ids and pauses
/// must differ, but need not be unpredictable.
pub(crate) fn entropy() -> u64 {
    getrandom::u64().unwrap_or_else(|_| {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let clock = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |since| since.subsec_nanos());
        u64::from(clock) ^ COUNTER.fetch_add(1, Ordering::Relaxed).rotate_left(32)
    })
}
