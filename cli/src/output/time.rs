//! Times: in the time zone of the reader and short at a terminal, whole and in UTC for programs.

use std::io::{self, IsTerminal as _};

use jiff::{Timestamp as Moment, tz::TimeZone};
use prost_types::Timestamp;

use crate::flags::format::Format;

/// A point in time; empty when it is not set.
pub(crate) fn moment(time: Option<&Timestamp>) -> String {
    let Some(time) = time else {
        return String::new();
    };
    match at(time) {
        Some(moment) if io::stdout().is_terminal() => local(moment, &TimeZone::system()),
        _ => time.to_string(),
    }
}

/// A point in time that a message of the contracts holds in its JSON form; the text itself when it is none.
pub(crate) fn moment_of(text: &str) -> String {
    match text.parse::<Moment>() {
        Ok(moment) if io::stdout().is_terminal() => local(moment, &TimeZone::system()),
        _ => text.to_owned(),
    }
}

/// A message for people, on standard error: at a terminal, a point in time within it is the reader's own and short.
pub(crate) fn in_message(message: &str) -> String {
    if !io::stderr().is_terminal() {
        return message.to_owned();
    }
    localized(message, &TimeZone::system())
}

fn localized(message: &str, zone: &TimeZone) -> String {
    let words = message.split_inclusive([' ', '\n']).map(|word| {
        let bare = word.trim_end();
        let time = bare.trim_end_matches([',', ';', '.', ':', ')']);
        match time.strip_suffix('Z').and(time.parse::<Moment>().ok()) {
            Some(moment) => word.replacen(time, &local(moment, zone), 1),
            None => word.to_owned(),
        }
    });
    words.collect()
}

/// How long ago it was, for a column at a terminal; the point in time in UTC for programs.
pub(crate) fn age(time: Option<&Timestamp>, format: Format) -> String {
    match time.and_then(at) {
        Some(moment) if format.is_table() && io::stdout().is_terminal() => {
            span(seconds_between(moment, Moment::now()))
        }
        _ => time.map(ToString::to_string).unwrap_or_default(),
    }
}

/// How long it took from one point in time to another one, or until now; empty when it has not begun.
pub(crate) fn took(from: Option<&Timestamp>, to: Option<&Timestamp>) -> String {
    let Some(from) = from.and_then(at) else {
        return String::new();
    };
    let to = to.and_then(at).unwrap_or_else(Moment::now);
    let milliseconds = to.as_millisecond().saturating_sub(from.as_millisecond());
    match milliseconds {
        ..1000 => format!("{}ms", milliseconds.max(0)),
        1000..10_000 => format!("{}.{}s", milliseconds / 1000, milliseconds % 1000 / 100),
        _ => span(milliseconds / 1000),
    }
}

fn at(time: &Timestamp) -> Option<Moment> {
    Moment::new(time.seconds, time.nanos).ok()
}

fn local(moment: Moment, zone: &TimeZone) -> String {
    moment
        .to_zoned_datetime(zone.clone())
        .strftime("%Y-%m-%d %H:%M")
        .to_string()
}

fn seconds_between(from: Moment, to: Moment) -> i64 {
    to.as_second().saturating_sub(from.as_second())
}

/// A span of time in its largest unit: `3d`, `5h`, `12m`, `8s`.
fn span(seconds: i64) -> String {
    const UNITS: [(i64, char); 4] = [(365 * 86_400, 'y'), (86_400, 'd'), (3600, 'h'), (60, 'm')];
    let seconds = seconds.max(0);
    UNITS.iter().find(|(unit, _)| seconds >= *unit).map_or_else(
        || format!("{seconds}s"),
        |(unit, name)| format!("{}{name}", seconds / unit),
    )
}

#[cfg(test)]
mod tests {
    use jiff::{Timestamp as Moment, tz::TimeZone};
    use prost_types::Timestamp;

    use super::{local, localized, moment, span, took};

    #[test]
    fn a_message_tells_times_as_people_read_them() {
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        assert_eq!(
            localized(
                "a.example is destroyed on 2026-12-30T10:48:29.839101Z, unless Zoe says 2026-12-30",
                &zone
            ),
            "a.example is destroyed on 2026-12-30 12:48, unless Zoe says 2026-12-30"
        );
    }

    #[test]
    fn spans_are_short() {
        for (seconds, short) in [
            (-1, "0s"),
            (59, "59s"),
            (60, "1m"),
            (3 * 3600 + 5, "3h"),
            (3 * 86_400, "3d"),
            (800 * 86_400, "2y"),
        ] {
            assert_eq!(span(seconds), short);
        }
        let time = |seconds, nanos| Timestamp { seconds, nanos };
        assert_eq!(
            took(Some(&time(1, 0)), Some(&time(1, 250_000_000))),
            "250ms"
        );
        assert_eq!(took(Some(&time(1, 0)), Some(&time(3, 480_000_000))), "2.4s");
        assert_eq!(took(Some(&time(1, 0)), Some(&time(100, 0))), "1m");
        assert_eq!(took(None, None), "");
    }

    #[test]
    fn programs_get_the_whole_time_and_people_their_own() {
        let time = Timestamp {
            seconds: 1_798_553_100,
            nanos: 0,
        };
        // Tests have no terminal.
        assert_eq!(moment(Some(&time)), "2026-12-29T14:05:00Z");
        assert_eq!(moment(None), "");
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        assert_eq!(
            local(
                Moment::from_second(1_798_553_100).unwrap_or_default(),
                &zone
            ),
            "2026-12-29 16:05"
        );
    }
}
