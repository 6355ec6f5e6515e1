//! The data of an attachment in the form in which CouchDB stores it.
//!
//! CouchDB compresses types such as text, and the digest of an attachment is that of what it stores. So the same
//! compression gives both servers the same digest and the same revision.

use std::io::Read as _;

use flate2::{Compress, Compression, FlushCompress, Status};
use http::StatusCode;
use md5::{Digest as _, Md5};

use crate::api_error::ApiError;

/// The types that are compressed: CouchDB's default. `*` stands for anything.
const COMPRESSIBLE: [&str; 4] = [
    "text/*",
    "application/javascript",
    "application/json",
    "application/xml",
];

/// CouchDB's default.
const LEVEL: u32 = 8;

/// The exponent of zlib's window.
const WINDOW_BITS: u8 = 15;

/// The largest decompressed attachment or body, in bytes.
pub(crate) const MAX_UNPACKED: u64 = 256 * 1024 * 1024;

/// The data of a new attachment.
#[derive(Clone, Debug)]
pub(crate) struct Data {
    /// What is stored.
    pub(crate) bytes: Vec<u8>,
    /// Whether that is compressed.
    pub(crate) is_gzip: bool,
    /// The length that is reported: of the uncompressed data, or what the client said of data that it had compressed.
    pub(crate) length: i64,
    /// The MD5 of what is stored.
    pub(crate) digest: [u8; 16],
}

impl Data {
    /// Data as a client has it. It is compressed if its type is one of those.
    pub(crate) fn plain(content_type: &str, bytes: Vec<u8>) -> Result<Self, ApiError> {
        let length = i64::try_from(bytes.len()).unwrap_or(i64::MAX);
        if is_compressible(content_type) {
            Ok(Self::stored(pack(&bytes)?, true, length))
        } else {
            Ok(Self::stored(bytes, false, length))
        }
    }

    /// Data that the client has compressed. Without a `length`, the compressed one is reported, as CouchDB does.
    pub(crate) fn gzipped(bytes: Vec<u8>, length: Option<i64>) -> Self {
        let length = length.unwrap_or_else(|| i64::try_from(bytes.len()).unwrap_or(i64::MAX));
        Self::stored(bytes, true, length)
    }

    fn stored(bytes: Vec<u8>, is_gzip: bool, length: i64) -> Self {
        let digest = Md5::digest(&bytes).into();
        Self {
            bytes,
            is_gzip,
            length,
            digest,
        }
    }
}

/// Whether attachments of this type are compressed. Parameters of the type do not count.
fn is_compressible(content_type: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or_default().trim();
    COMPRESSIBLE
        .iter()
        .any(|pattern| match pattern.strip_suffix('*') {
            Some(front) => kind
                .get(..front.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(front)),
            None => kind.eq_ignore_ascii_case(pattern),
        })
}

/// Compresses as CouchDB does, to the byte.
fn pack(plain: &[u8]) -> Result<Vec<u8>, ApiError> {
    let mut zlib = Compress::new_gzip(Compression::new(LEVEL), WINDOW_BITS);
    let mut packed = Vec::with_capacity(plain.len() / 2 + 64);
    loop {
        let read = usize::try_from(zlib.total_in()).unwrap_or(usize::MAX);
        let rest = plain.get(read..).unwrap_or_default();
        match zlib.compress_vec(rest, &mut packed, FlushCompress::Finish) {
            Ok(Status::StreamEnd) => return Ok(packed),
            Ok(_) => packed.reserve(packed.capacity().max(4096)),
            Err(error) => {
                tracing::error!(%error, "an attachment cannot be compressed");
                return Err(ApiError::internal("an attachment cannot be compressed"));
            }
        }
    }
}

/// Decompresses.
///
/// # Errors
/// 413 if the result is larger than [`MAX_UNPACKED`], and 400 with `reason` if the data is not compressed.
pub(crate) fn unpack(packed: &[u8], reason: &'static str) -> Result<Vec<u8>, ApiError> {
    let mut plain = Vec::new();
    let read = flate2::read::MultiGzDecoder::new(packed)
        .take(MAX_UNPACKED + 1)
        .read_to_end(&mut plain);
    match read {
        Ok(_) if plain.len() as u64 <= MAX_UNPACKED => Ok(plain),
        Ok(_) => Err(ApiError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too_large",
            "the request entity is too large",
        )),
        Err(_) => Err(ApiError::bad_request(reason)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use base64::{Engine as _, engine::general_purpose::STANDARD};

    use super::{Data, is_compressible, unpack};

    #[test]
    fn text_and_the_like_is_compressed() {
        for kind in [
            "text/plain",
            "TEXT/HTML; charset=utf-8",
            "application/json",
            " application/xml ;x",
        ] {
            assert!(is_compressible(kind), "{kind}");
        }
        for kind in ["", "text", "image/png", "application/json5", "xtext/plain"] {
            assert!(!is_compressible(kind), "{kind}");
        }
    }

    #[test]
    fn digests_equal_those_of_couchdb() {
        let data = Data::plain("text/plain", b"abc".to_vec()).unwrap();
        assert_eq!(STANDARD.encode(data.digest), "MyWy3nseSuM/cBHOQ46DVQ==");
        assert_eq!(data.length, 3);
        assert_eq!(unpack(&data.bytes, "broken").unwrap(), b"abc");
        let empty = Data::plain("text/plain", Vec::new()).unwrap();
        assert!(empty.is_gzip);
        assert_eq!(unpack(&empty.bytes, "broken").unwrap(), b"");
    }
}
