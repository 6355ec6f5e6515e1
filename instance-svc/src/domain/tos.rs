//! Versions of the terms of service.
//!
//! A version is three dotted numbers, with an optional `v` before and an optional date behind:
//! `1.0.0`, `v2.1.0`, `1.0.0-20170901`. Eight digits alone are a date: version 1.0.0 of that day. Only the
//! major number decides whether a version has to be signed again.

use time::{Date, Duration, Month};

/// The version of terms that are known by their date alone.
const DATED_ONLY: &str = "1.0.0";

/// A version, reduced to what the rules need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Version {
    major: u64,
    date: Option<Date>,
}

/// How long before the day from which terms hold the owner hears of them.
const NOTICE: Duration = Duration::days(30);

/// The stored form of a signed version.
///
/// # Errors
/// What is wrong with it, and what would be valid.
pub fn canonical_signed(text: &str) -> Result<String, String> {
    if parse(text).is_none() {
        return Err(format!(
            "{text:?} is no version of terms; it looks like 1.0.0, 1.0.0-20170901 or 20170901"
        ));
    }
    Ok(if date(text).is_some() {
        format!("{DATED_ONLY}-{text}")
    } else {
        text.to_owned()
    })
}

/// Checks that a version can await a signature: it needs a date, from which on it holds.
///
/// # Errors
/// What is wrong with it, and what would be valid.
pub fn check_latest(text: &str) -> Result<(), String> {
    match parse(text) {
        Some(version) if version.date.is_some() => Ok(()),
        Some(_) => Err(format!(
            "{text:?} lacks the date from which it holds; it looks like 2.0.0-20250901"
        )),
        None => Err(format!(
            "{text:?} is no version of terms; it looks like 2.0.0-20250901"
        )),
    }
}

/// Whether `latest` has still to be signed by an owner who has signed `signed`; empty means none. Invalid
/// versions, written by other software, count as unsigned.
#[must_use]
pub fn awaits_signature(latest: &str, signed: &str) -> bool {
    let Some(latest) = parse(latest) else {
        return false;
    };
    parse(signed).is_none_or(|signed| latest.major > signed.major)
}

/// The day from which `latest` holds, when it awaits the signature of an owner who has signed `signed`, and the owner is to
/// hear of it today. A version without a date, written by other software, has no such day.
#[must_use]
pub fn holds_from(latest: &str, signed: &str, today: Date) -> Option<Date> {
    let day = parse(latest)?.date?;
    let is_near = day.saturating_sub(NOTICE) <= today;
    (is_near && awaits_signature(latest, signed)).then_some(day)
}

fn parse(text: &str) -> Option<Version> {
    if let Some(date) = date(text) {
        return Some(Version {
            major: 1,
            date: Some(date),
        });
    }
    let text = text.strip_prefix('v').unwrap_or(text);
    let (numbers, date) = match text.split_once('-') {
        Some((numbers, text)) => (numbers, Some(date(text)?)),
        None => (text, None),
    };
    let mut parts = numbers.split('.').map(number);
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(Some(major)), Some(Some(_)), Some(Some(_)), None) => Some(Version { major, date }),
        _ => None,
    }
}

fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

fn date(text: &str) -> Option<Date> {
    let part = |range: std::ops::Range<usize>| text.get(range).and_then(number);
    let (year, month, day) = (part(0..4)?, part(4..6)?, part(6..8)?);
    let month = Month::try_from(u8::try_from(month).ok()?).ok()?;
    let day = u8::try_from(day).ok()?;
    let date = Date::from_calendar_date(i32::try_from(year).ok()?, month, day).ok();
    date.filter(|_| text.len() == 8)
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use time::{Date, Month};

    use super::{awaits_signature, canonical_signed, check_latest, holds_from};

    #[test]
    fn a_date_alone_is_the_first_version() {
        assert_eq!(canonical_signed("20170901").unwrap(), "1.0.0-20170901");
        for kept in ["1.0.0", "v2.1.0", "10.2.3-20240229"] {
            assert_eq!(canonical_signed(kept).unwrap(), kept);
        }
    }

    #[test]
    fn an_invalid_version_is_refused() {
        for wrong in [
            "",
            "1",
            "1.0",
            "1.0.0.0",
            "1.0.x",
            "1.0.0-2017",
            "20171301",
            "1.0.0-20230229",
            "vv1.0.0",
            "+1.0.0",
        ] {
            assert!(canonical_signed(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_version_that_awaits_a_signature_has_a_date() {
        assert!(check_latest("2.0.0-20250901").is_ok());
        assert!(check_latest("20250901").is_ok());
        assert!(check_latest("2.0.0").unwrap_err().contains("date"));
    }

    #[test]
    fn only_a_higher_major_number_awaits_a_signature() {
        assert!(awaits_signature("2.0.0-20250901", "1.0.0"));
        assert!(awaits_signature("1.0.0-20250901", ""));
        assert!(!awaits_signature("1.9.0-20250901", "1.0.0-20170901"));
        assert!(!awaits_signature("", "1.0.0"));
    }

    #[test]
    fn an_owner_hears_of_terms_thirty_days_before_they_hold() {
        let day = |month, day| Date::from_calendar_date(2025, month, day).unwrap();
        let first = day(Month::September, 1);
        for (today, told) in [
            (day(Month::August, 1), None),
            (day(Month::August, 2), Some(first)),
            (first, Some(first)),
            (day(Month::December, 1), Some(first)),
        ] {
            let latest = "2.0.0-20250901";
            assert_eq!(holds_from(latest, "1.0.0", today), told, "{today}");
            assert_eq!(holds_from(latest, "2.1.0", today), None, "{today}");
        }
        assert_eq!(holds_from("20250901", "", first), Some(first));
        assert_eq!(holds_from("2.0.0", "1.0.0", first), None);
        assert_eq!(holds_from("", "", first), None);
    }
}
