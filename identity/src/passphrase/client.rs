//! The client's part: from a passphrase to the login hash.
//!
//! Both derivations are PBKDF2-HMAC-SHA256 (RFC 8018, section 5.2), as Bitwarden's clients do them.

use std::num::NonZeroU32;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::pbkdf2::{PBKDF2_HMAC_SHA256, derive};

/// The number of PBKDF2 rounds that the client makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Iterations(NonZeroU32);

/// A number of rounds that is out of range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WrongIterations {
    /// With so few rounds, whoever steals the hash could try passphrases too quickly.
    #[error(
        "is too low: a client makes {} to {} iterations",
        Iterations::LEAST,
        Iterations::MOST
    )]
    TooFew,
    /// A phone would take minutes for so many rounds.
    #[error(
        "is too high: a client makes {} to {} iterations",
        Iterations::LEAST,
        Iterations::MOST
    )]
    TooMany,
}

impl Iterations {
    /// The minimum: with fewer, whoever steals the hash tries passphrases too quickly.
    pub const LEAST: u32 = 50_000;
    /// The maximum: with more, a phone takes minutes.
    pub const MOST: u32 = 5_000_000;
    /// The number that clients are told to use.
    pub const DEFAULT: Self = Self(NonZeroU32::MIN.saturating_add(650_000 - 1));

    /// The number of rounds that a client reports.
    ///
    /// # Errors
    /// When it is out of range.
    pub fn new(count: i32) -> Result<Self, WrongIterations> {
        match u32::try_from(count).ok().and_then(NonZeroU32::new) {
            Some(count) if count.get() > Self::MOST => Err(WrongIterations::TooMany),
            Some(count) if count.get() >= Self::LEAST => Ok(Self(count)),
            _ => Err(WrongIterations::TooFew),
        }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0.get()
    }
}

/// The salt of the first derivation: `me@` and the domain without its port. An instance that had another domain
/// formerly keeps the former one as its salt, so that its passphrase stays valid.
#[must_use]
pub fn salt(domain: &str, old_domain: &str) -> String {
    let domain = if old_domain.is_empty() {
        domain
    } else {
        old_domain
    };
    let host = domain.split(':').next().unwrap_or_default();
    format!("me@{host}")
}

/// The master key: derived from the passphrase, it opens the vault.
pub struct MasterKey([u8; 32]);

impl std::fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MasterKey(…)")
    }
}

impl MasterKey {
    /// Derives the key. It is expensive on purpose: never call it on a thread that serves requests.
    #[must_use]
    pub fn derive(passphrase: &str, salt: &str, iterations: Iterations) -> Self {
        let mut key = [0; 32];
        derive(
            PBKDF2_HMAC_SHA256,
            iterations.0,
            salt.as_bytes(),
            passphrase.as_bytes(),
            &mut key,
        );
        Self(key)
    }

    /// The login hash, which the client sends: standard base64 of 32 bytes, 44 characters.
    #[must_use]
    pub fn login_hash(&self, passphrase: &str) -> String {
        let mut hash = [0; 32];
        derive(
            PBKDF2_HMAC_SHA256,
            NonZeroU32::MIN,
            passphrase.as_bytes(),
            &self.0,
            &mut hash,
        );
        STANDARD.encode(hash)
    }

    /// A random key that belongs to no passphrase.
    pub(super) fn draw() -> Result<Self, getrandom::Error> {
        super::random().map(Self)
    }

    pub(super) const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Whether a string has the form of a login hash.
#[must_use]
pub fn is_login_hash(text: &str) -> bool {
    STANDARD.decode(text).is_ok_and(|bytes| bytes.len() == 32)
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use serde::Deserialize;

    use super::{Iterations, MasterKey, WrongIterations, is_login_hash, salt};

    #[derive(Deserialize)]
    struct Vector {
        domain: String,
        passphrase: String,
        iterations: i32,
        salt: String,
        master_key_hex: String,
        login_hash_base64: String,
    }

    #[test]
    fn hashes_match_the_vectors_of_the_model() {
        let vectors: Vec<Vector> =
            serde_json::from_str(include_str!("vectors/client.json")).unwrap();
        assert_eq!(vectors.len(), 3);
        for vector in vectors {
            assert_eq!(salt(&vector.domain, ""), vector.salt);
            let iterations = Iterations::new(vector.iterations).unwrap();
            let key = MasterKey::derive(&vector.passphrase, &vector.salt, iterations);
            assert_eq!(hex::encode(key.bytes()), vector.master_key_hex);
            let hash = key.login_hash(&vector.passphrase);
            assert_eq!(hash, vector.login_hash_base64);
            assert!(is_login_hash(&hash));
        }
    }

    #[test]
    fn a_former_domain_stays_the_salt() {
        assert_eq!(salt("new.example:8080", "old.example:80"), "me@old.example");
        assert_eq!(salt("élodie.example", ""), "me@élodie.example");
    }

    #[test]
    fn rounds_have_a_range() {
        assert_eq!(Iterations::DEFAULT.get(), 650_000);
        for (count, outcome) in [
            (-1, Err(WrongIterations::TooFew)),
            (0, Err(WrongIterations::TooFew)),
            (49_999, Err(WrongIterations::TooFew)),
            (50_000, Ok(50_000)),
            (5_000_000, Ok(5_000_000)),
            (5_000_001, Err(WrongIterations::TooMany)),
        ] {
            assert_eq!(Iterations::new(count).map(Iterations::get), outcome);
        }
    }

    #[test]
    fn only_login_hashes_have_their_form() {
        for wrong in [
            "",
            "x",
            "c2hvcnQ=",
            "not base64 at all, but as long as one!!!",
        ] {
            assert!(!is_login_hash(wrong), "{wrong}");
        }
    }

    #[test]
    fn debug_shows_no_key() {
        let key = MasterKey::derive("x", "me@a.example", Iterations::new(50_000).unwrap());
        assert_eq!(format!("{key:?}"), "MasterKey(…)");
    }
}
