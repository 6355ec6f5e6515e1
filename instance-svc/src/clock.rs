//! Times, as documents keep them.
//!
//! They are shown and they schedule; no decision between two replicas compares them.

use time::{Duration, OffsetDateTime, format_description::well_known::Rfc3339};

/// Now, RFC 3339, UTC, to the millisecond or finer.
#[must_use]
pub fn now() -> String {
    show(OffsetDateTime::now_utc())
}

/// Some time from now.
#[must_use]
pub fn after(delay: std::time::Duration) -> String {
    let delay = Duration::try_from(delay).unwrap_or(Duration::MAX);
    show(OffsetDateTime::now_utc().saturating_add(delay))
}

/// How long it is until `text`; nothing when that is past or cannot be read.
#[must_use]
pub fn until(text: &str) -> std::time::Duration {
    parse(text)
        .map(|then| then - OffsetDateTime::now_utc())
        .and_then(|left| left.try_into().ok())
        .unwrap_or_default()
}

/// How long ago `text` was; nothing when it lies ahead or cannot be read.
#[must_use]
pub fn since(text: &str) -> std::time::Duration {
    parse(text)
        .map(|then| OffsetDateTime::now_utc() - then)
        .and_then(|past| past.try_into().ok())
        .unwrap_or_default()
}

/// The time that `text` tells.
#[must_use]
pub fn parse(text: &str) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(text, &Rfc3339).ok()
}

/// A time of the Unix epoch, RFC 3339; `None` when it lies beyond the years that this form has.
#[must_use]
pub fn from_unix(seconds: i64, nanos: i32) -> Option<String> {
    let time = OffsetDateTime::from_unix_timestamp(seconds)
        .ok()?
        .replace_nanosecond(u32::try_from(nanos).ok()?)
        .ok()?;
    (1..=9999).contains(&time.year()).then(|| show(time))
}

fn show(time: OffsetDateTime) -> String {
    // Every time of our era has this form.
    time.format(&Rfc3339).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{after, now, since, until};

    #[test]
    fn times_are_read_as_they_were_written() {
        assert!(until(&now()) == Duration::ZERO);
        let left = until(&after(Duration::from_secs(100)));
        assert!(left > Duration::from_secs(90) && left <= Duration::from_secs(100));
        assert!(since("2020-01-01T00:00:00Z") > Duration::from_secs(1));
        assert_eq!(since("no time"), Duration::ZERO);
    }
}
