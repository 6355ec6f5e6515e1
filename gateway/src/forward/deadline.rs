//! The deadline of a call, from its `grpc-timeout` header.

use std::time::Duration;

use http::{HeaderMap, HeaderValue};
pub(crate) use service_kit::deadline::TIMEOUT_HEADER;
use service_kit::deadline::{NoTimeout, parse};

/// The service gets a little more time than the gateway waits, so that a late call always ends with the
/// gateway's DEADLINE_EXCEEDED.
const SLACK: Duration = Duration::from_millis(250);

/// How long a call may take: the caller's timeout, at most `cap`.
pub(crate) fn of(headers: &HeaderMap, cap: Duration) -> Result<Duration, NoTimeout> {
    let mut sent = headers.get_all(TIMEOUT_HEADER).iter();
    let Some(header) = sent.next() else {
        return Ok(cap);
    };
    if sent.next().is_some() {
        return Err(NoTimeout);
    }
    let asked = header.to_str().map_err(|_| NoTimeout).and_then(parse)?;
    if asked.is_zero() {
        return Err(NoTimeout);
    }
    Ok(asked.min(cap))
}

/// The timeout header for the service.
pub(crate) fn header(left: Duration) -> HeaderValue {
    // The cap is a day, which is eight digits of milliseconds.
    let millis = (left + SLACK).as_millis().min(99_999_999);
    HeaderValue::try_from(format!("{millis}m")).unwrap_or(HeaderValue::from_static("1m"))
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use std::time::Duration;

    use proptest::prelude::*;

    use service_kit::deadline::parse;

    use super::header;

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
