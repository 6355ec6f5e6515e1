//! Encryption of secrets that are stored in a document for a while. Only this installation can decrypt them,
//! and only for the context for which they were encrypted.
//!
//! ChaCha20-Poly1305 (RFC 8439) under a key that HKDF-SHA256 (RFC 5869) derives from the cluster key for one
//! context. The context (the operation's id) is authenticated too, so what was sealed for one operation cannot
//! be moved into another.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::{
    aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hkdf::{HKDF_SHA256, Salt},
};
use serde::{Deserialize, Serialize};

/// Identifies the use of the derived keys, and the format of sealed data.
const SALT: &[u8] = b"hamlet sealed v1";

/// Sealed data: base64 of nonce, ciphertext and tag.
#[derive(Clone, Deserialize, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Sealed(String);

impl std::fmt::Debug for Sealed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sealed(…)")
    }
}

/// Why data could not be sealed or opened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system provides no randomness.
    #[error("the system has no randomness to give")]
    Randomness(#[from] getrandom::Error),
    /// None of the keys opens the data.
    #[error(
        "none of the cluster keys opens what was sealed: it was sealed under a key that is gone, or changed since"
    )]
    Unreadable,
}

/// Seals bytes under `key`, for one context.
///
/// # Errors
/// When the system provides no randomness.
pub fn seal(key: &[u8], context: &str, plain: &[u8]) -> Result<Sealed, Error> {
    let mut nonce = [0; NONCE_LEN];
    getrandom::fill(&mut nonce)?;
    let mut text = plain.to_vec();
    derived(key, context)
        .and_then(|key| {
            let nonce = Nonce::assume_unique_for_key(nonce);
            key.seal_in_place_append_tag(nonce, Aad::from(context), &mut text)
        })
        .map_err(|_| Error::Unreadable)?;
    Ok(Sealed(STANDARD.encode([nonce.as_slice(), &text].concat())))
}

/// Opens data that was sealed under one of `keys` for this context.
///
/// # Errors
/// When none of the keys opens it.
pub fn open<'k>(
    keys: impl IntoIterator<Item = &'k [u8]>,
    context: &str,
    sealed: &Sealed,
) -> Result<Vec<u8>, Error> {
    let bytes = STANDARD.decode(&sealed.0).map_err(|_| Error::Unreadable)?;
    let (nonce, text) = bytes
        .split_first_chunk::<NONCE_LEN>()
        .ok_or(Error::Unreadable)?;
    keys.into_iter()
        .find_map(|key| {
            let key = derived(key, context).ok()?;
            let nonce = Nonce::assume_unique_for_key(*nonce);
            let mut text = text.to_vec();
            let plain = key
                .open_in_place(nonce, Aad::from(context), &mut text)
                .ok()?;
            Some(plain.to_vec())
        })
        .ok_or(Error::Unreadable)
}

fn derived(key: &[u8], context: &str) -> Result<LessSafeKey, ring::error::Unspecified> {
    let info = [context.as_bytes()];
    let key = Salt::new(HKDF_SHA256, SALT).extract(key);
    let key = key.expand(&info, &CHACHA20_POLY1305)?;
    Ok(LessSafeKey::new(UnboundKey::from(key)))
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        reason = "a failed expectation is the test failing"
    )]

    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use proptest::prelude::*;

    use super::{Sealed, open, seal};

    const OLD: &[u8] = b"the cluster key of before";
    const NEW: &[u8] = b"the cluster key of now";

    proptest! {
        #[test]
        fn what_is_sealed_is_opened_by_the_same_key_and_context_alone(
            plain in proptest::collection::vec(any::<u8>(), 0..200), context in "[a-z0-9]{1,40}",
        ) {
            let sealed = seal(OLD, &context, &plain).unwrap();
            prop_assert_eq!(&open([OLD], &context, &sealed).unwrap(), &plain);
            prop_assert_eq!(&open([NEW, OLD], &context, &sealed).unwrap(), &plain);
            prop_assert!(open([NEW], &context, &sealed).is_err());
            let other = format!("{context}x");
            prop_assert!(open([OLD], &other, &sealed).is_err());
            prop_assert_ne!(seal(OLD, &context, &plain).unwrap(), sealed);
        }

        #[test]
        fn a_changed_bit_is_noticed(at in any::<prop::sample::Index>(), bit in 0_u8..8) {
            let sealed = seal(OLD, "operation", b"secret").unwrap();
            let mut bytes = STANDARD.decode(&sealed.0).unwrap();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            prop_assert!(open([OLD], "operation", &Sealed(STANDARD.encode(bytes))).is_err());
        }
    }

    #[test]
    fn sealed_data_is_neither_shown_nor_stored_in_plain_text() {
        let sealed = seal(OLD, "operation", b"the secret itself").unwrap();
        assert_eq!(format!("{sealed:?}"), "Sealed(…)");
        let stored = serde_json::to_string(&sealed).unwrap();
        assert!(!stored.contains("secret"));
        let bytes = STANDARD.decode(stored.trim_matches('"')).unwrap();
        assert!(!bytes.windows(6).any(|window| window == b"secret"));
        assert!(open([OLD], "operation", &Sealed("x".to_owned())).is_err());
        assert!(open([OLD], "operation", &Sealed(String::new())).is_err());
    }
}
