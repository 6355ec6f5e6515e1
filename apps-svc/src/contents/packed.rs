//! Compresses contents once, when an app is stored, and not each time a browser asks for them.

use std::io::{self, Write as _};

use brotli::{CompressorWriter, enc::BrotliEncoderParams};
use bytes::Bytes;

use crate::error::Error;

/// How well contents are compressed. The best of all, 11, takes much longer, and people wait for an installation.
const QUALITY: i32 = 9;

/// Smaller files fit into a packet anyway, in bytes.
const SMALLEST: usize = 512;

/// How much of a file is compressed in order to find out whether that is worth it.
const SAMPLE: usize = 64 * 1024;

/// The compressed form of contents; `None` when it is not much smaller.
pub(super) async fn pack(content: &Bytes) -> Result<Option<Bytes>, Error> {
    if content.len() < SMALLEST {
        return Ok(None);
    }
    let content = content.clone();
    let packed = tokio::task::spawn_blocking(move || pack_now(&content)).await?;
    packed.map_err(|error| Error::Archive(format!("it cannot be compressed: {error}")))
}

fn pack_now(content: &[u8]) -> io::Result<Option<Bytes>> {
    let sample = content.get(..SAMPLE).unwrap_or(content);
    // Pictures and archives are compressed already. The lowest quality tells that quickly.
    if !is_worth_it(compress(sample, 1)?.len(), sample.len()) {
        return Ok(None);
    }
    let packed = compress(content, QUALITY)?;
    Ok(is_worth_it(packed.len(), content.len()).then(|| packed.into()))
}

const fn is_worth_it(packed: usize, whole: usize) -> bool {
    packed < whole / 10 * 9
}

fn compress(content: &[u8], quality: i32) -> io::Result<Vec<u8>> {
    let parameters = BrotliEncoderParams {
        quality,
        size_hint: content.len(),
        ..BrotliEncoderParams::default()
    };
    let mut packed = CompressorWriter::with_params(Vec::new(), 4096, &parameters);
    packed.write_all(content)?;
    packed.flush()?;
    Ok(packed.into_inner())
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use std::io::Read as _;

    use super::pack;

    #[tokio::test]
    async fn only_what_becomes_much_smaller_is_compressed() {
        let text = "function a() { return 1; }\n".repeat(100);
        let packed = pack(&text.clone().into()).await.unwrap().unwrap();
        assert!(packed.len() < text.len() / 10);
        let mut whole = String::new();
        brotli::Decompressor::new(&*packed, 4096)
            .read_to_string(&mut whole)
            .unwrap();
        assert_eq!(whole, text);

        let noise: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..))
            .take(5000)
            .collect();
        assert_eq!(pack(&noise.into()).await.unwrap(), None);
        assert_eq!(pack(&"a".repeat(100).into()).await.unwrap(), None);
    }
}
