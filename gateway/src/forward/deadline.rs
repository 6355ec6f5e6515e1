//! `grpc-timeout`: how long a caller is willing to wait.

use std::time::Duration;

use http::{HeaderMap, HeaderValue};

pub(crate) const TIMEOUT_HEADER: &str = "grpc-timeout";

/// The service's own timer runs a little longer than the gateway's, so that a late call ends with the
/// gateway's DEADLINE_EXCEEDED and not with what the service makes of it.
const SLACK: Duration = Duration::from_millis(250);

/// The header cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "grpc-timeout: is no time; it looks like 500m: up to eight digits, then H, M, S, m, u or n"
)]
pub(crate) struct NoTimeout;

/// How long a call may take: what the caller asks for, and `cap` at most.
pub(crate) fn of(headers: &HeaderMap, cap: Duration) -> Result<Duration, NoTimeout> {
    let mut sent = headers.get_all(TIMEOUT_HEADER).iter();
    let Some(header) = sent.next() else {
        return Ok(cap);
    };
    if sent.next().is_some() {
        return Err(NoTimeout);
    }
    let asked = header.to_str().map_err(|_| NoTimeout).and_then(parse)?;
    Ok(asked.min(cap))
}

/// The header that tells a service how long it has.
pub(crate) fn header(left: Duration) -> HeaderValue {
    // The cap is a day, which is eight digits of milliseconds.
    let millis = (left + SLACK).as_millis().min(99_999_999);
    HeaderValue::try_from(format!("{millis}m")).unwrap_or(HeaderValue::from_static("1m"))
}

/// Reads a `TimeoutValue` and its unit, as the gRPC over HTTP/2 protocol defines them.
fn parse(text: &str) -> Result<Duration, NoTimeout> {
    let (digits, unit) = text
        .len()
        .checked_sub(1)
        .and_then(|last| text.split_at_checked(last))
        .ok_or(NoTimeout)?;
    let plain = (1..=8).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    let number: u64 = digits.parse().map_err(|_| NoTimeout)?;
    match unit {
        _ if !plain => Err(NoTimeout),
        "H" => Ok(Duration::from_secs(number * 3600)),
        "M" => Ok(Duration::from_secs(number * 60)),
        "S" => Ok(Duration::from_secs(number)),
        "m" => Ok(Duration::from_millis(number)),
        "u" => Ok(Duration::from_micros(number)),
        "n" => Ok(Duration::from_nanos(number)),
        _ => Err(NoTimeout),
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use std::time::Duration;

    use proptest::prelude::*;

    use super::{header, parse};

    #[test]
    fn units_are_told_apart() {
        assert_eq!(parse("2H").unwrap(), Duration::from_secs(7200));
        assert_eq!(parse("2M").unwrap(), Duration::from_secs(120));
        assert_eq!(parse("2S").unwrap(), Duration::from_secs(2));
        assert_eq!(parse("2m").unwrap(), Duration::from_millis(2));
        assert_eq!(parse("2u").unwrap(), Duration::from_micros(2));
        assert_eq!(parse("2n").unwrap(), Duration::from_nanos(2));
        assert_eq!(
            parse("99999999H").unwrap(),
            Duration::from_secs(99_999_999 * 3600)
        );
        for wrong in [
            "",
            "S",
            "1",
            "1s",
            "-1S",
            "+1S",
            "1.5S",
            "123456789S",
            "1 S",
            "1é",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,12}") {
            let _ = parse(&text);
        }

        #[test]
        fn what_is_sent_on_can_be_read_again_and_is_no_shorter(millis in 0_u64..86_400_000) {
            let left = Duration::from_millis(millis);
            let sent = header(left);
            prop_assert!(parse(sent.to_str().unwrap()).unwrap() >= left);
        }
    }
}
