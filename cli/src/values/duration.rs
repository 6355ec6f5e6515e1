//! Spans of time: `30d`, `24h`, `1h 30m`.

use prost_types::Duration;

/// Longer ones are typing errors: a hundred years.
const LONGEST: u64 = 100 * 366 * 24 * 3600;

/// Reads a span of time: whole seconds, at least one, at most a hundred years.
///
/// # Errors
/// When it is none.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let hint = "write a number with a unit: 30d, 24h, 90min, 3600s, or several: 1d 12h";
    if text.starts_with('-') {
        return Err(format!("{text:?} is negative; {hint}"));
    }
    let span = humantime::parse_duration(text)
        .map_err(|_| format!("{text:?} is no span of time; {hint}"))?;
    if span.as_secs() == 0 || span.subsec_nanos() != 0 {
        return Err(format!(
            "{text:?} is not a whole number of seconds, at least one; {hint}"
        ));
    }
    match i64::try_from(span.as_secs()) {
        Ok(seconds) if span.as_secs() <= LONGEST => Ok(Duration { seconds, nanos: 0 }),
        _ => Err(format!("{text:?} is longer than a hundred years; {hint}")),
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn spans_have_units() {
        for (text, seconds) in [
            ("30d", 30 * 86_400),
            ("24h", 86_400),
            ("1h30m", 5400),
            ("1h 30min", 5400),
            ("90s", 90),
            ("2 weeks", 14 * 86_400),
        ] {
            assert_eq!(parse(text).map(|span| span.seconds), Ok(seconds), "{text}");
        }
        for wrong in [
            "", "30", "d", "-1h", "0s", "1500ms", "1x", "9999999d", "forever",
        ] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
