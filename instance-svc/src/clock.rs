//! The wall clock.
//!
//! Its times serve for display and for scheduling. No decision between two replicas compares them. Only a [`Clock`] is
//! asked for the time of day, so a test can shift all of a replica's times at once.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use time::OffsetDateTime;

use crate::domain::time::Time;

/// The wall clock of a replica: the system's clock, which tests can shift.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    /// The offset from the system's clock, in milliseconds.
    ahead: Option<Arc<AtomicI64>>,
}

impl Clock {
    /// The system's clock.
    #[must_use]
    pub const fn system() -> Self {
        Self { ahead: None }
    }

    /// A clock that can be shifted. Clones share the offset.
    #[must_use]
    pub fn adjustable() -> Self {
        Self {
            ahead: Some(Arc::default()),
        }
    }

    /// Shifts the clock forward or (negative) back. Has no effect on the system's own clock.
    pub fn jump(&self, milliseconds: i64) {
        if let Some(ahead) = &self.ahead {
            ahead.fetch_add(milliseconds, Ordering::SeqCst);
        }
    }

    /// Now.
    #[must_use]
    pub fn now(&self) -> Time {
        let ahead = self
            .ahead
            .as_ref()
            .map_or(0, |ahead| ahead.load(Ordering::SeqCst));
        let time = OffsetDateTime::now_utc().saturating_add(time::Duration::milliseconds(ahead));
        Time::new(time).unwrap_or(Time::MIN)
    }

    /// Some time from now.
    #[must_use]
    pub fn after(&self, delay: Duration) -> Time {
        self.now().checked_add(delay).unwrap_or(Time::MAX)
    }

    /// Some time ago.
    #[must_use]
    pub fn before(&self, delay: Duration) -> Time {
        self.now().checked_sub(delay).unwrap_or(Time::MIN)
    }

    /// The time since `earlier`; zero when that is in the future.
    #[must_use]
    pub fn since(&self, earlier: Time) -> Duration {
        self.now().since(earlier)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Clock, Time};

    #[test]
    fn a_delay_ends_in_the_years_that_documents_can_hold() {
        let clock = Clock::system();
        let left = clock.after(Duration::from_secs(100)).since(clock.now());
        assert!(left > Duration::from_secs(90) && left <= Duration::from_secs(100));
        assert_eq!(clock.after(Duration::MAX), Time::MAX);
        assert_eq!(clock.before(Duration::MAX), Time::MIN);
    }

    #[test]
    fn clones_of_a_clock_share_its_offset() {
        let clock = Clock::adjustable();
        let before = clock.now();
        clock.clone().jump(3_600_000);
        assert!(clock.since(before) >= Duration::from_secs(3_600));
        clock.jump(-7_200_000);
        assert_eq!(clock.since(before), Duration::ZERO);
    }
}
