//! The server's part: the hash of a login hash. Whoever reads it in the database cannot log in with it.
//!
//! Its text is `scrypt$N$r$p$<salt hex>$<key hex>` (scrypt: RFC 7914); documents hold the base64 of it.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use scrypt::{Params, scrypt};
use subtle::ConstantTimeEq as _;

/// log₂ of the cost; a hash takes 32 MiB of memory.
const LOG_N: u8 = 15;
const R: u32 = 8;
const P: u32 = 1;
/// The maximum memory for checking a stored hash, in bytes: other software may have stored one with other
/// parameters.
const MOST_MEMORY: u64 = 128 * 1024 * 1024;

/// The parameters are invalid on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("scrypt refuses its parameters")]
pub struct Unusable;

/// Hashes a login hash with a random salt, in the form that documents keep. Takes 32 MiB and some 100 ms: never
/// call it on a thread that serves requests.
///
/// # Errors
/// Never with these parameters.
pub fn hash(login_hash: &str, salt: &[u8; 16]) -> Result<String, Unusable> {
    let mut key = [0; 32];
    let params = Params::new(LOG_N, R, P).map_err(|_| Unusable)?;
    scrypt(login_hash.as_bytes(), salt, &params, &mut key).map_err(|_| Unusable)?;
    let n = 1_u32 << LOG_N;
    let text = format!(
        "scrypt${n}${R}${P}${}${}",
        hex::encode(salt),
        hex::encode(key)
    );
    Ok(STANDARD.encode(text))
}

/// Whether a login hash matches the stored one, compared in constant time. A stored text that is invalid, or
/// that would need too much memory, never matches. As expensive as [`hash`].
#[must_use]
pub fn matches(stored: &str, login_hash: &str) -> bool {
    let Some(stored) = Stored::read(stored) else {
        return false;
    };
    let mut key = vec![0; stored.key.len()];
    scrypt(
        login_hash.as_bytes(),
        &stored.salt,
        &stored.params,
        &mut key,
    )
    .is_ok()
        && key.ct_eq(&stored.key).into()
}

struct Stored {
    params: Params,
    salt: Vec<u8>,
    key: Vec<u8>,
}

impl Stored {
    fn read(stored: &str) -> Option<Self> {
        let text = String::from_utf8(STANDARD.decode(stored).ok()?).ok()?;
        let mut parts = text.split('$');
        if parts.next()? != "scrypt" {
            return None;
        }
        let n: u64 = parts.next()?.parse().ok()?;
        let r: u32 = parts.next()?.parse().ok()?;
        let p: u32 = parts.next()?.parse().ok()?;
        let salt = hex::decode(parts.next()?).ok()?;
        let key = hex::decode(parts.next()?).ok()?;
        let memory = n.checked_mul(u64::from(r))?.checked_mul(128)?;
        let sensible = n.is_power_of_two()
            && memory <= MOST_MEMORY
            && (1..=16).contains(&p)
            && (16..=64).contains(&key.len())
            && parts.next().is_none();
        let log_n = u8::try_from(n.checked_ilog2()?).ok()?;
        sensible.then_some(())?;
        Some(Self {
            params: Params::new(log_n, r, p).ok()?,
            salt,
            key,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use serde::Deserialize;

    use super::{hash, matches};

    #[derive(Deserialize)]
    struct Vector {
        input: String,
        salt_hex: String,
        text: String,
        as_stored_in_passphrase_hash: String,
    }

    #[test]
    fn hashes_match_the_vectors_of_the_model() {
        let vectors: Vec<Vector> =
            serde_json::from_str(include_str!("vectors/server.json")).unwrap();
        assert_eq!(vectors.len(), 1);
        for vector in vectors {
            let salt = hex::decode(&vector.salt_hex).unwrap().try_into().unwrap();
            let stored = hash(&vector.input, &salt).unwrap();
            assert_eq!(stored, vector.as_stored_in_passphrase_hash);
            assert_eq!(STANDARD.decode(&stored).unwrap(), vector.text.as_bytes());
            assert!(matches(&stored, &vector.input));
            assert!(!matches(&stored, "something else"));
        }
    }

    #[test]
    fn an_invalid_stored_hash_matches_nothing() {
        for text in [
            "",
            "scrypt",
            "scrypt$32768$8$1$00",
            "scrypt$3$8$1$00$00000000000000000000000000000000",
            // 32 GiB of memory.
            "scrypt$33554432$8$1$00$00000000000000000000000000000000",
            "argon2$32768$8$1$00$00000000000000000000000000000000",
            "scrypt$2$8$1$00$0000",
            "scrypt$2$8$1$00$00000000000000000000000000000000$more",
            "scrypt$0$8$1$00$00000000000000000000000000000000",
        ] {
            assert!(!matches(&STANDARD.encode(text), "x"), "{text}");
            assert!(!matches(text, "x"), "{text}");
        }
    }

    #[test]
    fn a_hash_with_other_parameters_is_understood() {
        // Made with Python's hashlib.scrypt: n=2, r=8, p=1, salt 00, of "x".
        let key = "fbca701f37dc5f63c6449695ee62032c";
        let stored = STANDARD.encode(format!("scrypt$2$8$1$00${key}"));
        assert!(matches(&stored, "x"));
        assert!(!matches(&stored, "y"));
    }
}
