//! Times as documents hold them.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use time::{
    Date, OffsetDateTime, UtcOffset,
    error::{Parse, TryFromParsed},
    format_description::well_known::{
        Iso8601, Rfc3339,
        iso8601::{Config, EncodedConfig, TimePrecision},
    },
};

/// RFC 3339 with exactly six digits of microseconds, so that the texts sort like the times.
const FORM: EncodedConfig = Config::DEFAULT
    .set_time_precision(TimePrecision::Second {
        decimal_digits: std::num::NonZeroU8::new(6),
    })
    .encode();

/// A time in UTC, to the microsecond, in the years 1 to 9999: what the text in a document can hold. A time that is
/// written and read again is the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(OffsetDateTime);

impl Time {
    /// The first time that a document can hold.
    pub const MIN: Self = Self::at_second(-62_135_596_800);
    /// The last second.
    pub const MAX: Self = Self::at_second(253_402_300_799);

    const fn at_second(unix: i64) -> Self {
        match OffsetDateTime::from_unix_timestamp(unix) {
            Ok(time) => Self(time),
            Err(_) => Self(OffsetDateTime::UNIX_EPOCH),
        }
    }

    /// Cuts `time` to the microsecond. `None` when its year is before 1.
    #[must_use]
    pub fn new(time: OffsetDateTime) -> Option<Self> {
        let time = time.checked_to_offset(UtcOffset::UTC)?;
        let whole = time.replace_microsecond(time.microsecond()).ok()?;
        (1..=9999).contains(&whole.year()).then_some(Self(whole))
    }

    /// The time with this Unix time.
    #[must_use]
    pub fn from_unix(seconds: i64, nanos: i32) -> Option<Self> {
        let time = OffsetDateTime::from_unix_timestamp(seconds).ok()?;
        Self::new(time.replace_nanosecond(u32::try_from(nanos).ok()?).ok()?)
    }

    /// The Unix time: seconds, and the nanoseconds of the second.
    #[must_use]
    pub const fn to_unix(self) -> (i64, u32) {
        (self.0.unix_timestamp(), self.0.nanosecond())
    }

    /// The day in UTC.
    #[must_use]
    pub const fn day(self) -> Date {
        self.0.date()
    }

    /// A while later; `None` after the year 9999.
    #[must_use]
    pub fn checked_add(self, delay: Duration) -> Option<Self> {
        self.0
            .checked_add(delay.try_into().ok()?)
            .and_then(Self::new)
    }

    /// A while earlier; `None` before the year 1.
    #[must_use]
    pub fn checked_sub(self, delay: Duration) -> Option<Self> {
        self.0
            .checked_sub(delay.try_into().ok()?)
            .and_then(Self::new)
    }

    /// How long after `earlier` it is; zero when it is before.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        (self.0 - earlier.0).try_into().unwrap_or_default()
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // This form can hold every time of these years.
        let text = self.0.format(&Iso8601::<FORM>).map_err(|_| fmt::Error)?;
        f.write_str(&text)
    }
}

impl FromStr for Time {
    type Err = Parse;

    /// Reads any time of RFC 3339.
    fn from_str(text: &str) -> Result<Self, Parse> {
        let time = OffsetDateTime::parse(text, &Rfc3339)?;
        Self::new(time).ok_or(Parse::TryFromParsed(TryFromParsed::InsufficientInformation))
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// A time, or an empty text where there is none: the form in which an operation holds a time that it sets or clears.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OptionalTime(pub Option<Time>);

impl Serialize for OptionalTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Some(time) => time.serialize(serializer),
            None => serializer.serialize_str(""),
        }
    }
}

impl<'de> Deserialize<'de> for OptionalTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.is_empty() {
            return Ok(Self(None));
        }
        text.parse()
            .map(|time| Self(Some(time)))
            .map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use proptest::prelude::*;

    use super::{Duration, OptionalTime, Time};

    fn any_time() -> impl Strategy<Value = Time> {
        let (first, last) = (-62_135_596_800_i64, 253_402_300_799);
        (first..=last, 0..1_000_000_000).prop_map(|(s, nanos)| Time::from_unix(s, nanos).unwrap())
    }

    proptest! {
        #[test]
        fn a_time_survives_a_document(time in any_time()) {
            let text = time.to_string();
            prop_assert_eq!(text.len(), "2026-01-01T00:00:00.000000Z".len());
            prop_assert!(text.ends_with('Z'));
            prop_assert_eq!(text.parse::<Time>().unwrap(), time);
            let stored = serde_json::to_string(&OptionalTime(Some(time))).unwrap();
            prop_assert_eq!(&stored, &format!("\"{text}\""));
            prop_assert_eq!(serde_json::from_str::<Time>(&stored).unwrap(), time);
        }

        #[test]
        fn texts_sort_like_times(one in any_time(), other in any_time()) {
            prop_assert_eq!(one.cmp(&other), one.to_string().cmp(&other.to_string()));
        }

        #[test]
        fn what_is_added_is_the_difference(time in any_time(), millis in 0..u64::from(u32::MAX)) {
            let delay = Duration::from_millis(millis);
            if let Some(later) = time.checked_add(delay) {
                prop_assert_eq!(later.since(time), delay);
                prop_assert_eq!(later.checked_sub(delay), Some(time));
            }
        }
    }

    #[test]
    fn times_of_other_writers_are_read() {
        let expected: Time = "2026-01-01T00:00:00.100000Z".parse().unwrap();
        for spelling in [
            "2026-01-01T00:00:00.1Z",
            "2026-01-01T00:00:00.100000999Z",
            "2026-01-01T01:00:00.1+01:00",
        ] {
            assert_eq!(spelling.parse(), Ok(expected), "{spelling}");
        }
        for wrong in ["", "yesterday", "2026-01-01", "0000-12-31T00:00:00Z"] {
            assert!(wrong.parse::<Time>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_first_and_the_last_year_are_the_limits() {
        assert_eq!(Time::from_unix(-62_135_596_801, 0), None);
        assert_eq!(Time::from_unix(253_402_300_800, 0), None);
        assert_eq!(Time::from_unix(0, -1), None);
        let last = Time::from_unix(253_402_300_799, 0).unwrap();
        assert_eq!(last.checked_add(Duration::from_secs(1)), None);
        assert_eq!(last.checked_add(Duration::MAX), None);
    }

    #[test]
    fn no_time_is_an_empty_text() {
        assert_eq!(serde_json::to_string(&OptionalTime(None)).unwrap(), "\"\"");
        let read: OptionalTime = serde_json::from_str("\"\"").unwrap();
        assert_eq!(read, OptionalTime(None));
    }
}
