//! Times in the form that documents use.
//!
//! They serve for display and for scheduling. No decision between two replicas compares them. Only a [`Clock`] is asked
//! for the time of day, so a test can shift all of a replica's times at once.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use time::{
    Duration, OffsetDateTime,
    format_description::well_known::{
        Iso8601, Rfc3339,
        iso8601::{Config, EncodedConfig, TimePrecision},
    },
};

/// RFC 3339 with exactly six digits of microseconds, so that the strings sort like the times.
const FORM: EncodedConfig = Config::DEFAULT
    .set_time_precision(TimePrecision::Second {
        decimal_digits: std::num::NonZeroU8::new(6),
    })
    .encode();

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
    pub fn time(&self) -> OffsetDateTime {
        let ahead = self
            .ahead
            .as_ref()
            .map_or(0, |ahead| ahead.load(Ordering::SeqCst));
        OffsetDateTime::now_utc().saturating_add(Duration::milliseconds(ahead))
    }

    /// Now, RFC 3339, UTC, to the microsecond.
    #[must_use]
    pub fn now(&self) -> String {
        show(self.time())
    }

    /// Some time from now.
    #[must_use]
    pub fn after(&self, delay: std::time::Duration) -> String {
        let delay = Duration::try_from(delay).unwrap_or(Duration::MAX);
        show(self.time().saturating_add(delay))
    }

    /// Some time ago.
    #[must_use]
    pub fn before(&self, delay: std::time::Duration) -> String {
        let delay = Duration::try_from(delay).unwrap_or(Duration::MAX);
        show(self.time().saturating_sub(delay))
    }

    /// The time until `text`; zero when that is past or invalid.
    #[must_use]
    pub fn until(&self, text: &str) -> std::time::Duration {
        parse(text)
            .map(|then| then - self.time())
            .and_then(|left| left.try_into().ok())
            .unwrap_or_default()
    }

    /// The time since `text`; zero when that is in the future or invalid.
    #[must_use]
    pub fn since(&self, text: &str) -> std::time::Duration {
        parse(text)
            .map(|then| self.time() - then)
            .and_then(|past| past.try_into().ok())
            .unwrap_or_default()
    }
}

/// A while after `text`; `None` when that is invalid.
#[must_use]
pub fn later(text: &str, delay: std::time::Duration) -> Option<String> {
    let delay = Duration::try_from(delay).ok()?;
    parse(text)?.checked_add(delay).map(show)
}

/// Parses `text`.
#[must_use]
pub fn parse(text: &str) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(text, &Rfc3339).ok()
}

/// A Unix time as RFC 3339; `None` when its year cannot be written in this form.
#[must_use]
pub fn from_unix(seconds: i64, nanos: i32) -> Option<String> {
    let time = OffsetDateTime::from_unix_timestamp(seconds)
        .ok()?
        .replace_nanosecond(u32::try_from(nanos).ok()?)
        .ok()?;
    (1..=9999).contains(&time.year()).then(|| show(time))
}

fn show(time: OffsetDateTime) -> String {
    // Every time of our era can be written in this form.
    time.format(&Iso8601::<FORM>).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Clock;

    #[test]
    fn times_survive_a_round_trip() {
        let clock = Clock::system();
        assert!(clock.until(&clock.now()) == Duration::ZERO);
        let left = clock.until(&clock.after(Duration::from_secs(100)));
        assert!(left > Duration::from_secs(90) && left <= Duration::from_secs(100));
        assert!(clock.since("2020-01-01T00:00:00Z") > Duration::from_secs(1));
        assert_eq!(clock.since("no time"), Duration::ZERO);
    }

    #[test]
    fn times_sort_as_strings() {
        let now = Clock::system().now();
        assert_eq!(now.len(), "2026-01-01T00:00:00.000000Z".len());
        assert!(now.ends_with('Z'));
    }

    #[test]
    fn clones_of_a_clock_share_its_offset() {
        let clock = Clock::adjustable();
        let before = clock.now();
        clock.clone().jump(3_600_000);
        assert!(clock.since(&before) >= Duration::from_secs(3_600));
        clock.jump(-7_200_000);
        assert_eq!(clock.since(&before), Duration::ZERO);
    }
}
