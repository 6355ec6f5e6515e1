//! The ids of traces, as they stand in the header `traceparent` (<https://www.w3.org/TR/trace-context/>).

use std::fmt;

use http::{HeaderMap, HeaderValue};
use opentelemetry::{Context, trace::TraceContextExt as _};

/// The header.
pub(super) const TRACEPARENT: &str = "traceparent";

/// The length of the header's value in version 00.
const LENGTH: usize = 55;

/// Says that somebody records the trace.
const SAMPLED: u8 = 1;

/// The ids of a span and of its trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ids {
    trace: u128,
    span: u64,
    flags: u8,
}

impl Ids {
    /// A new span in the trace that the headers name, or in a new one.
    #[must_use]
    pub fn below(headers: &HeaderMap) -> Self {
        let parent = headers
            .get(TRACEPARENT)
            .and_then(|value| Self::parse(value.as_bytes()));
        Self {
            trace: parent.map_or_else(|| fastrand::u128(1..), |parent| parent.trace),
            span: fastrand::u64(1..),
            flags: parent.map_or(SAMPLED, |parent| parent.flags),
        }
    }

    /// The ids of a span that is sent to a collector.
    pub(super) fn of(context: &Context) -> Option<Self> {
        let span = context.span();
        let span = span.span_context();
        span.is_valid().then(|| Self {
            trace: u128::from_be_bytes(span.trace_id().to_bytes()),
            span: u64::from_be_bytes(span.span_id().to_bytes()),
            flags: span.trace_flags().to_u8(),
        })
    }

    fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let rest = text.get(LENGTH..)?;
        // Later versions may add to the value.
        let is_known = text.starts_with("00-") && rest.is_empty();
        let is_later = !text.starts_with("00") && !text.starts_with("ff");
        if !is_known && !(is_later && (rest.is_empty() || rest.starts_with('-'))) {
            return None;
        }
        let mut parts = text.get(..LENGTH)?.split('-');
        let (version, trace, span, flags) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let is_plain = |part: &str, length: usize| {
            part.len() == length
                && part
                    .bytes()
                    .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
        };
        if !is_plain(version, 2)
            || !is_plain(trace, 32)
            || !is_plain(span, 16)
            || !is_plain(flags, 2)
        {
            return None;
        }
        let ids = Self {
            trace: u128::from_str_radix(trace, 16).ok()?,
            span: u64::from_str_radix(span, 16).ok()?,
            flags: u8::from_str_radix(flags, 16).ok()? & SAMPLED,
        };
        (ids.trace != 0 && ids.span != 0).then_some(ids)
    }

    /// Puts them into the headers of a request to another service.
    pub fn inject(&self, headers: &mut HeaderMap) {
        let mut text = [b'0'; LENGTH];
        let (front, rest) = text.split_at_mut(3);
        front.fill(b'0');
        let (trace, rest) = rest.split_at_mut(32);
        write_hex(trace, &self.trace.to_be_bytes());
        let (dash, rest) = rest.split_at_mut(1);
        dash.fill(b'-');
        let (span, rest) = rest.split_at_mut(16);
        write_hex(span, &self.span.to_be_bytes());
        let (dash, flags) = rest.split_at_mut(1);
        dash.fill(b'-');
        write_hex(flags, &[self.flags]);
        if let Some(dash) = front.last_mut() {
            *dash = b'-';
        }
        // Digits and dashes are always a value.
        if let Ok(value) = HeaderValue::from_bytes(&text) {
            headers.insert(TRACEPARENT, value);
        }
    }

    /// The trace's id, as 32 hexadecimal digits.
    pub(super) fn trace_id(self) -> impl fmt::Display {
        fmt::from_fn(move |f| write!(f, "{:032x}", self.trace))
    }

    /// The span's id, as 16 hexadecimal digits.
    pub(super) fn span_id(self) -> impl fmt::Display {
        fmt::from_fn(move |f| write!(f, "{:016x}", self.span))
    }
}

fn write_hex(into: &mut [u8], bytes: &[u8]) {
    const DIGITS: [u8; 16] = *b"0123456789abcdef";
    for (pair, byte) in into.chunks_exact_mut(2).zip(bytes) {
        for (place, digit) in pair.iter_mut().zip([byte >> 4, byte & 15]) {
            *place = DIGITS.get(usize::from(digit)).copied().unwrap_or(b'0');
        }
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use super::Ids;

    const EXAMPLE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn headers(value: &str) -> HeaderMap {
        let value = HeaderValue::from_str(value).unwrap_or(HeaderValue::from_static(""));
        [(http::HeaderName::from_static("traceparent"), value)]
            .into_iter()
            .collect()
    }

    #[test]
    fn a_header_is_read_and_written() {
        let ids = Ids::parse(EXAMPLE.as_bytes());
        let mut written = HeaderMap::new();
        if let Some(ids) = ids {
            ids.inject(&mut written);
        }
        assert_eq!(written, headers(EXAMPLE));
        assert_eq!(
            Ids::below(&headers(EXAMPLE)).trace_id().to_string(),
            "4bf92f3577b34da6a3ce929d0e0e4736"
        );
    }

    #[test]
    fn a_malformed_header_begins_a_new_trace() {
        for wrong in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(Ids::parse(wrong.as_bytes()), None, "{wrong}");
            assert_ne!(
                Ids::below(&headers(wrong)).trace_id().to_string(),
                "4bf92f3577b34da6a3ce929d0e0e4736"
            );
        }
        let later = "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more";
        assert!(Ids::parse(later.as_bytes()).is_some());
    }
}
