//! Answers with a file of an app.

use std::ops::Range;

use axum::{
    body::Body,
    response::{IntoResponse as _, Response},
};
use http::{
    HeaderMap, HeaderValue, Method, StatusCode,
    header::{
        ACCEPT_ENCODING, ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH,
        CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_NONE_MATCH, IF_RANGE, RANGE, VARY,
    },
    request::Parts,
};
use http_range_header::{RangeUnsatisfiableError, parse_range_header};

use super::refusal::Why;
use crate::contents::{Blob, Contents, Leaf};

/// How many digits of a hash tell files apart.
const DIGITS: usize = 32;

/// A file of an app.
pub(super) struct File<'a> {
    pub(super) leaf: &'a Leaf,
    /// Whether it never changes.
    pub(super) is_immutable: bool,
    /// Whether strangers may read it.
    pub(super) is_public: bool,
}

/// Which bytes a request wants.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    Whole,
    Some(Range<u64>),
    /// A part that the file does not have.
    Beyond,
}

impl File<'_> {
    /// Answers a request for it: with all of it or a part, compressed where the caller takes that.
    pub(super) async fn answer(&self, contents: &Contents, head: &Parts) -> Result<Response, Why> {
        let asked = &head.headers;
        let whole = self.etag(false);
        let part = match asked.get(IF_RANGE) {
            // A part of another version is of no use.
            Some(version) if version.as_bytes() != whole.as_bytes() => Part::Whole,
            _ if head.method != Method::GET => Part::Whole,
            _ => part(asked, self.leaf.size),
        };
        let packed = if part == Part::Whole && accepts_brotli(asked) {
            contents.packed(self.leaf).await?
        } else {
            None
        };
        let etag = self.etag(packed.is_some());
        let mut headers = self.headers(&etag);
        if is_known(asked, [&whole, &self.etag(true)]) {
            headers.remove(CONTENT_TYPE);
            return Ok((StatusCode::NOT_MODIFIED, headers).into_response());
        }
        let size = self.leaf.size;
        let (status, blob, length) = match (packed, part) {
            (_, Part::Beyond) => {
                if let Ok(range) = format!("bytes */{size}").try_into() {
                    headers.insert(CONTENT_RANGE, range);
                }
                headers.remove(CONTENT_TYPE);
                return Ok((StatusCode::RANGE_NOT_SATISFIABLE, headers).into_response());
            }
            (Some(packed), _) => {
                headers.insert(CONTENT_ENCODING, HeaderValue::from_static("br"));
                let length = packed.size;
                (StatusCode::OK, packed, length)
            }
            (None, Part::Some(range)) => {
                let length = range.end - range.start;
                let told = format!("bytes {}-{}/{size}", range.start, range.end - 1);
                if let Ok(told) = told.try_into() {
                    headers.insert(CONTENT_RANGE, told);
                }
                let blob = self.blob(contents, Some(range)).await?;
                (StatusCode::PARTIAL_CONTENT, blob, length)
            }
            (None, Part::Whole) => (StatusCode::OK, self.blob(contents, None).await?, size),
        };
        headers.insert(CONTENT_LENGTH, length.into());
        Ok((status, headers, Body::from_stream(blob.bytes)).into_response())
    }

    async fn blob(&self, contents: &Contents, part: Option<Range<u64>>) -> Result<Blob, Why> {
        contents.blob(self.leaf, part).await?.ok_or(Why::NotReady)
    }

    fn headers(&self, etag: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if let Ok(kind) = self.leaf.mime.as_str().try_into() {
            headers.insert(CONTENT_TYPE, kind);
        }
        if let Ok(etag) = etag.try_into() {
            headers.insert(ETAG, etag);
        }
        let kept = match (self.is_public, self.is_immutable) {
            (true, true) => "max-age=31536000, immutable",
            (true, false) => "no-cache",
            // What only the owner may read is for the owner's browser alone.
            (false, true) => "private, max-age=31536000, immutable",
            (false, false) => "private, no-cache",
        };
        headers.insert(CACHE_CONTROL, HeaderValue::from_static(kept));
        headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
        headers
    }

    /// Its version: a hash of its contents, so that two versions of an app share what has not changed.
    fn etag(&self, is_packed: bool) -> String {
        let hash = self.leaf.sha256.get(..DIGITS).unwrap_or(&self.leaf.sha256);
        let form = if is_packed { "-br" } else { "" };
        format!("\"{hash}{form}\"")
    }
}

/// Whether the caller has one of these versions.
fn is_known(asked: &HeaderMap, etags: [&str; 2]) -> bool {
    let known = asked.get_all(IF_NONE_MATCH).iter();
    known
        .filter_map(|known| known.to_str().ok())
        .flat_map(|known| known.split(','))
        .map(str::trim)
        .map(|known| known.strip_prefix("W/").unwrap_or(known))
        .any(|known| known == "*" || etags.contains(&known))
}

/// The part that a request wants. What cannot be read, or are several parts, is a request for the whole.
fn part(asked: &HeaderMap, size: u64) -> Part {
    let Some(range) = asked.get(RANGE).and_then(|range| range.to_str().ok()) else {
        return Part::Whole;
    };
    let ranges = parse_range_header(range).and_then(|ranges| ranges.validate(size));
    match ranges.as_deref() {
        Ok([one]) => Part::Some(*one.start()..*one.end() + 1),
        Err(RangeUnsatisfiableError::Unsatisfiable) => Part::Beyond,
        Ok(_) | Err(_) => Part::Whole,
    }
}

/// Whether the caller can unpack Brotli.
fn accepts_brotli(asked: &HeaderMap) -> bool {
    let accepted = asked.get_all(ACCEPT_ENCODING).iter();
    accepted
        .filter_map(|accepted| accepted.to_str().ok())
        .flat_map(|accepted| accepted.split(','))
        .any(|accepted| {
            let mut parts = accepted.split(';').map(str::trim);
            let is_brotli = parts
                .next()
                .is_some_and(|name| name.eq_ignore_ascii_case("br"));
            let quality = parts.find_map(|part| part.strip_prefix("q="));
            is_brotli && quality.is_none_or(|quality| quality.parse().is_ok_and(|it: f32| it > 0.0))
        })
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use http::HeaderMap;

    use super::{Part, accepts_brotli, is_known, part};

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        headers
    }

    #[test]
    fn one_part_is_sent_and_several_are_not() {
        let of = |range: &str| part(&headers("range", range), 10);
        assert_eq!(of("bytes=2-4"), Part::Some(2..5));
        assert_eq!(of("bytes=8-"), Part::Some(8..10));
        assert_eq!(of("bytes=-3"), Part::Some(7..10));
        assert_eq!(of("bytes=5-99"), Part::Some(5..10));
        assert_eq!(of("bytes=10-"), Part::Beyond);
        for whole in ["bytes=0-1,4-5", "lines=1-2", "bytes=x", "bytes=4-2", ""] {
            assert_eq!(of(whole), Part::Whole, "{whole}");
        }
    }

    #[test]
    fn brotli_is_for_who_asks_for_it() {
        let of = |encodings: &str| accepts_brotli(&headers("accept-encoding", encodings));
        assert!(of("gzip, deflate, br") && of("br;q=0.5") && of("BR"));
        assert!(!of("gzip") && !of("br;q=0") && !of("brotli") && !of("*"));
    }

    #[test]
    fn a_known_version_is_one_of_a_list() {
        let of = |known: &str| is_known(&headers("if-none-match", known), ["\"a\"", "\"a-br\""]);
        assert!(of("\"a\"") && of("W/\"a-br\"") && of("\"x\", \"a\"") && of("*"));
        assert!(!of("\"b\"") && !of("a"));
    }
}
