//! Durations in settings, as `humantime` reads them: `500ms`, `30s`, `1h 30m`, `7d`.
//!
//! Some settings were plain numbers in earlier versions. They name the unit of a number without one.

use std::time::Duration;

use humantime::parse_duration;

/// Reads a duration with its unit.
///
/// # Errors
/// Says what would be right.
pub fn with_unit(text: &str) -> Result<Duration, String> {
    parse_duration(text).map_err(|error| {
        format!("is not a duration ({error}); it looks like 500ms, 30s, 10m or 7d")
    })
}

/// Reads a duration. A number without a unit is seconds.
///
/// # Errors
/// Says what would be right.
pub fn or_seconds(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds) => Ok(Duration::from_secs(seconds)),
        Err(_) => with_unit(text),
    }
}

/// As [`or_seconds`], without the empty duration.
///
/// # Errors
/// Says what would be right.
pub fn some_or_seconds(text: &str) -> Result<Duration, String> {
    match or_seconds(text)? {
        Duration::ZERO => Err("is no time at all; give at least 1s".to_owned()),
        duration => Ok(duration),
    }
}

/// Reads a duration. A number without a unit is days.
///
/// # Errors
/// Says what would be right.
pub fn or_days(text: &str) -> Result<Duration, String> {
    match text.parse::<u64>() {
        Ok(days) => Ok(Duration::from_secs(days.saturating_mul(86_400))),
        Err(_) => with_unit(text),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{or_days, or_seconds, some_or_seconds, with_unit};

    #[test]
    fn a_number_without_a_unit_means_what_it_always_meant() {
        assert_eq!(or_seconds("600"), Ok(Duration::from_secs(600)));
        assert_eq!(or_seconds("10m"), Ok(Duration::from_secs(600)));
        assert_eq!(or_seconds("0"), Ok(Duration::ZERO));
        assert_eq!(or_days("7"), or_days("7d"));
        assert_eq!(or_days("7"), Ok(Duration::from_secs(7 * 86_400)));
        assert_eq!(with_unit("1h 30m"), Ok(Duration::from_secs(5_400)));
        for wrong in ["", "10", "-1s", "s", "soon", "99999999999999999999h"] {
            assert!(with_unit(wrong).is_err(), "{wrong}");
        }
        for wrong in ["", "-1", "1.5", "soon"] {
            assert!(or_seconds(wrong).is_err(), "{wrong}");
            assert!(or_days(wrong).is_err(), "{wrong}");
        }
        assert!(some_or_seconds("0").is_err() && some_or_seconds("0s").is_err());
    }
}
