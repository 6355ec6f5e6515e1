//! The random values that an operation writes.
//!
//! A write that may be sent again has to be the same bytes: CouchDB derives a revision from them, so a second try
//! makes the same revision, and no second leaf that a node could bring back later. So an operation draws one seed
//! before its first try, and derives its values from it, by HKDF-SHA256 (RFC 5869).

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::hkdf::{HKDF_SHA256, KeyType, Prk};
use serde::{Deserialize, Serialize};

/// A seed: 32 random bytes. `Debug` does not show it.
#[derive(Clone, Deserialize, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Seed([u8; 32]);

impl std::fmt::Debug for Seed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seed(…)")
    }
}

/// The length of a derived value, in bytes.
struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

impl Seed {
    /// A new seed.
    ///
    /// # Errors
    /// When the system provides no randomness.
    pub fn draw() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// The value with this name: base64 of `LENGTH` bytes.
    #[must_use]
    pub fn base64<const LENGTH: usize>(&self, name: &str) -> String {
        // HKDF-SHA256 gives up to 255 × 32 bytes.
        const { assert!(LENGTH <= 255 * 32, "too long for HKDF") };
        let mut value = [0; LENGTH];
        let _fits = Prk::new_less_safe(HKDF_SHA256, &self.0)
            .expand(&[name.as_bytes()], Length(LENGTH))
            .and_then(|derived| derived.fill(&mut value));
        STANDARD.encode(value)
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use base64::{Engine as _, engine::general_purpose::STANDARD};

    use super::Seed;

    #[test]
    fn a_seed_gives_the_same_values_again_and_others_for_other_names() {
        let seed = Seed::draw().unwrap();
        let value = seed.base64::<128>("one");
        assert_eq!(STANDARD.decode(&value).unwrap().len(), 128);
        assert_ne!(STANDARD.decode(&value).unwrap(), [0; 128]);
        let stored = serde_json::to_string(&seed).unwrap();
        let read: Seed = serde_json::from_str(&stored).unwrap();
        assert_eq!(read.base64::<128>("one"), value);
        assert_ne!(seed.base64::<128>("two"), value);
        assert_ne!(Seed::draw().unwrap().base64::<128>("one"), value);
    }

    #[test]
    fn values_are_those_of_hkdf_expand() {
        // Computed with Python's hmac: HMAC-SHA256(seed, "session_secret" || 0x01), cut to 16 bytes.
        let seed = Seed([7; 32]);
        assert_eq!(
            seed.base64::<16>("session_secret"),
            "6LsgXj5mSprJUovNEYm1Dw=="
        );
    }

    #[test]
    fn a_seed_is_not_shown() {
        assert_eq!(format!("{:?}", Seed([0; 32])), "Seed(…)");
    }
}
