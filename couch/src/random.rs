//! Randomness for pauses: drawn from the system, or from a seed in tests.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A source of pauses. Not for secrets.
#[derive(Debug)]
pub(crate) struct Dice(AtomicU64);

impl Dice {
    pub(crate) fn new(seed: Option<u64>) -> Self {
        Self(AtomicU64::new(seed.unwrap_or_else(entropy)))
    }

    /// The next number of Sebastiano Vigna's `SplitMix64` (public domain).
    pub(crate) fn draw(&self) -> u64 {
        const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut z = self
            .0
            .fetch_add(GOLDEN, Ordering::Relaxed)
            .wrapping_add(GOLDEN);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number of milliseconds in `from..=to`.
    pub(crate) fn millis(&self, from: u64, to: u64) -> Duration {
        let span = to.saturating_sub(from).saturating_add(1);
        Duration::from_millis(from.saturating_add(self.draw() % span))
    }

    /// The pause before attempt `attempt` (the first repeat is 1): it doubles from 50 ms up to
    /// `longest`, and lies anywhere in the upper half, so that many clients do not come back at once.
    pub(crate) fn backoff(&self, attempt: u32, longest: Duration) -> Duration {
        let longest = u64::try_from(longest.as_millis()).unwrap_or(u64::MAX);
        let full = (25_u64 << attempt.min(16)).min(longest).max(2);
        self.millis(full / 2, full)
    }
}

/// 64 random bits. Where the system has none to give, the clock and a counter have to do: ids and
/// pauses must only differ, they are no secrets.
pub(crate) fn entropy() -> u64 {
    getrandom::u64().unwrap_or_else(|_| {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let clock = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |since| since.subsec_nanos());
        u64::from(clock) ^ COUNTER.fetch_add(1, Ordering::Relaxed).rotate_left(32)
    })
}
