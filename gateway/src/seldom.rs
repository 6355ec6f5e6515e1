//! Log lines that strangers can cause at will: one a minute of each kind.

use std::{
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// How often a line is written at most.
const EVERY: Duration = Duration::from_mins(1);

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// One kind of line.
#[derive(Debug, Default)]
pub(crate) struct Seldom {
    /// When the next line may be written, in milliseconds since the start.
    next: AtomicU64,
    unseen: AtomicU64,
}

impl Seldom {
    pub(crate) const fn new() -> Self {
        Self {
            next: AtomicU64::new(0),
            unseen: AtomicU64::new(0),
        }
    }

    /// Whether to write a line now. If so, how many have not been written since the last one.
    pub(crate) fn now(&self) -> Option<u64> {
        self.at(START.elapsed())
    }

    fn at(&self, now: Duration) -> Option<u64> {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let next = self.next.load(Ordering::Relaxed);
        let is_due = millis(now) >= next
            && self
                .next
                .compare_exchange(
                    next,
                    millis(now + EVERY),
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                )
                .is_ok();
        if is_due {
            Some(self.unseen.swap(0, Ordering::Relaxed))
        } else {
            self.unseen.fetch_add(1, Ordering::Relaxed);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Seldom;

    #[test]
    fn a_flood_makes_one_line_a_minute() {
        let seldom = Seldom::default();
        let at = |seconds| seldom.at(Duration::from_secs(seconds));
        assert_eq!(at(0), Some(0));
        assert_eq!(at(1), None);
        assert_eq!(at(59), None);
        assert_eq!(at(60), Some(2));
        assert_eq!(at(61), None);
        assert_eq!(at(200), Some(1));
    }
}
