//! What a service may say in heads and trailers.

use bytes::Bytes;
use http::{HeaderMap, header::CONTENT_TYPE};
use tonic::Status;

use crate::seldom::Seldom;

/// What most clients take: gRPC's own and those built on `h2`. A longer list breaks their whole connection. In bytes.
const LONGEST: usize = 12 * 1024;

/// The longest message and the longest details that are passed on where the list is too long, in bytes.
const LONGEST_MESSAGE: usize = 1024;
const LONGEST_DETAILS: usize = 4 * 1024;

/// What a header counts beyond its name and value (RFC 9113, section 10.5.1).
const OVERHEAD: usize = 32;

static SHORTENED: Seldom = Seldom::new();

/// Shortens a status that is too long, and leaves out what else the list holds. The status keeps its code. Returns whether
/// the list is short enough now: one without a status cannot be shortened.
pub(super) fn shorten(headers: &mut HeaderMap) -> bool {
    let before = size(headers);
    if before <= LONGEST {
        return true;
    }
    let Some(status) = Status::from_header_map(headers) else {
        return false;
    };
    if let Some(unseen) = SHORTENED.now() {
        tracing::warn!(
            bytes = before,
            code = ?status.code(),
            unseen,
            "a status is too long for most clients and was shortened"
        );
    }
    let kind = headers.remove(CONTENT_TYPE);
    headers.clear();
    if let Some(kind) = kind {
        headers.insert(CONTENT_TYPE, kind);
    }
    let details = status.details();
    let details = if details.len() <= LONGEST_DETAILS {
        Bytes::copy_from_slice(details)
    } else {
        Bytes::new()
    };
    let message = shortened(status.message());
    let short = Status::with_details(status.code(), message, details);
    if short.add_header(headers).is_err() {
        headers.insert(Status::GRPC_STATUS, (status.code() as i32).into());
    }
    true
}

/// The size of a header list as HTTP/2 counts it.
fn size(headers: &HeaderMap) -> usize {
    headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + OVERHEAD)
        .sum()
}

fn shortened(message: &str) -> String {
    let end = message.floor_char_boundary(LONGEST_MESSAGE);
    let begin = message.get(..end).unwrap_or_default();
    if begin.len() < message.len() {
        format!("{begin}…")
    } else {
        begin.to_owned()
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use http::HeaderMap;
    use tonic::{Code, Status};

    use super::{LONGEST, shorten, size};

    #[test]
    fn a_status_of_any_length_keeps_its_code() {
        for length in [0, 100, 11_000, 20_000, 100_000] {
            for message in ["x".repeat(length), "é".repeat(length / 2)] {
                let status = Status::with_details(
                    Code::FailedPrecondition,
                    &message,
                    vec![7; length].into(),
                );
                let mut trailers = HeaderMap::new();
                status.add_header(&mut trailers).unwrap();
                trailers.insert("other", "x".repeat(length).parse().unwrap());
                let before = trailers.clone();
                let was_short = size(&trailers) <= LONGEST;
                assert!(shorten(&mut trailers));
                assert!(size(&trailers) <= LONGEST);
                assert_eq!(trailers == before, was_short);
                let kept = Status::from_header_map(&trailers).unwrap();
                assert_eq!(kept.code(), Code::FailedPrecondition);
                let begin = kept.message().trim_end_matches('…');
                assert!(message.starts_with(begin) && (begin.len() > 1000 || length < 20_000));
            }
        }
    }
}
