//! The time of day.

use std::time::{SystemTime, UNIX_EPOCH};

/// The seconds since 1970.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// A time in seconds since 1970 as cookies have it.
pub(crate) fn cookie_date(seconds: i64) -> String {
    let time = jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    time.strftime("%a, %d-%b-%Y %H:%M:%S GMT").to_string()
}

#[cfg(test)]
mod tests {
    use super::cookie_date;

    #[test]
    fn dates_of_cookies_are_those_of_couchdb() {
        assert_eq!(cookie_date(1_796_011_265), "Mon, 30-Nov-2026 04:01:05 GMT");
    }
}
