//! Durations: `30d`, `24h`, `1h 30m`.

use prost_types::Duration;

/// A hundred years, in seconds. Longer durations are typing errors.
const MAX_SECONDS: u64 = 100 * 366 * 24 * 3600;

/// Reads a duration of whole seconds: at least one, at most a hundred years.
///
/// # Errors
/// When the text is no such duration.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let hint = "write a number with a unit: 30d, 24h, 90min, 3600s, or several: 1d 12h";
    if text.starts_with('-') {
        return Err(format!("{text:?} is negative; {hint}"));
    }
    let duration = humantime::parse_duration(text)
        .map_err(|_| format!("{text:?} is no span of time; {hint}"))?;
    if duration.as_secs() == 0 || duration.subsec_nanos() != 0 {
        return Err(format!(
            "{text:?} is not a whole number of seconds, at least one; {hint}"
        ));
    }
    match i64::try_from(duration.as_secs()) {
        Ok(seconds) if duration.as_secs() <= MAX_SECONDS => Ok(Duration { seconds, nanos: 0 }),
        _ => Err(format!("{text:?} is longer than a hundred years; {hint}")),
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn durations_have_units() {
        for (text, seconds) in [
            ("30d", 30 * 86_400),
            ("24h", 86_400),
            ("1h30m", 5400),
            ("1h 30min", 5400),
            ("90s", 90),
            ("2 weeks", 14 * 86_400),
        ] {
            assert_eq!(
                parse(text).map(|duration| duration.seconds),
                Ok(seconds),
                "{text}"
            );
        }
        for wrong in [
            "", "30", "d", "-1h", "0s", "1500ms", "1x", "9999999d", "forever",
        ] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
