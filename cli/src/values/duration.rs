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

/// A duration for people, in the units of a clock and in days: `90 days`, `1 day 12 hours`. Months and years are of no fixed
/// length, so that they would not be what somebody has typed.
pub(crate) fn show(duration: &Duration) -> String {
    const UNITS: [(i64, &str); 4] = [
        (86_400, "day"),
        (3600, "hour"),
        (60, "minute"),
        (1, "second"),
    ];
    let mut left = duration.seconds.max(0);
    let mut parts = Vec::new();
    for (length, name) in UNITS {
        let count = left / length;
        left %= length;
        match count {
            0 => {}
            1 => parts.push(format!("1 {name}")),
            _ => parts.push(format!("{count} {name}s")),
        }
    }
    parts.join(" ")
}

#[cfg(test)]
mod tests {
    use super::{parse, show};

    #[test]
    fn a_duration_is_shown_in_days_as_it_was_typed() {
        for (typed, shown) in [
            ("30d", "30 days"),
            ("90d", "90 days"),
            ("400d", "400 days"),
            ("36h", "1 day 12 hours"),
            ("61min", "1 hour 1 minute"),
            ("1s", "1 second"),
        ] {
            assert_eq!(
                parse(typed).map(|it| show(&it)).as_deref(),
                Ok(shown),
                "{typed}"
            );
        }
    }

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
