//! The register token, with which the first passphrase is set: 16 random bytes that work once, for a limited
//! time.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use subtle::ConstantTimeEq as _;

use super::random;
use crate::time::Time;

/// The maximum length of a token that is read, in bytes. Real tokens are shorter.
const LONGEST: usize = 64;

/// A token as a caller sent it.
#[derive(Clone)]
pub struct RegisterToken(Vec<u8>);

impl std::fmt::Debug for RegisterToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RegisterToken(…)")
    }
}

/// The string cannot be a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is no register token; it is made of 32 hex digits")]
pub struct NotHex;

/// Why a token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It is not the token of the instance.
    Wrong,
    /// The instance has no token: it was used, or was never needed.
    Used,
    /// It has expired.
    Expired,
}

impl RegisterToken {
    /// Parses the hex digits of a link. A token of the wrong length is accepted here, and never matches.
    ///
    /// # Errors
    /// When the string is not hexadecimal.
    pub fn parse(text: &str) -> Result<Self, NotHex> {
        if text.is_empty() || text.len() > LONGEST * 2 {
            return Err(NotHex);
        }
        hex::decode(text).map(Self).map_err(|_| NotHex)
    }

    /// Whether it equals the token of an instance document (base64), compared in constant time.
    fn is(&self, stored: &str) -> bool {
        STANDARD
            .decode(stored)
            .is_ok_and(|stored| stored.ct_eq(&self.0).into())
    }

    /// Whether it is valid for an instance. `stored` is the token in the instance document, `expires_at` its
    /// expiry. A token without an expiry was made by other software, and is valid until it is renewed.
    ///
    /// Only a caller with the right token learns that it has expired.
    ///
    /// # Errors
    /// The reason why it is not valid.
    pub fn check(&self, stored: &str, expires_at: Option<Time>, now: Time) -> Result<(), Refused> {
        if stored.is_empty() {
            return Err(Refused::Used);
        }
        if !self.is(stored) {
            return Err(Refused::Wrong);
        }
        if expires_at.is_some_and(|end| end <= now) {
            return Err(Refused::Expired);
        }
        Ok(())
    }
}

/// A new token, as instance documents keep it: base64 of 16 bytes.
///
/// # Errors
/// When the system provides no randomness.
pub fn draw() -> Result<String, getrandom::Error> {
    Ok(STANDARD.encode(random::<16>()?))
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        reason = "a failed expectation is the test failing"
    )]

    use std::time::Duration;

    use super::{Refused, RegisterToken, Time, draw};
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use proptest::prelude::*;

    fn at(second: i64) -> Time {
        Time::from_unix(second, 0).unwrap()
    }

    fn hex_of(stored: &str) -> String {
        hex::encode(STANDARD.decode(stored).unwrap())
    }

    #[test]
    fn the_right_token_is_valid_until_it_expires() {
        let stored = draw().unwrap();
        for spelling in [hex_of(&stored), hex_of(&stored).to_uppercase()] {
            let token = RegisterToken::parse(&spelling).unwrap();
            assert_eq!(token.check(&stored, None, at(0)), Ok(()));
            let end = at(7 * 86_400);
            let just_before = end.checked_sub(Duration::from_micros(1)).unwrap();
            assert_eq!(token.check(&stored, Some(end), just_before), Ok(()));
            assert_eq!(token.check(&stored, Some(end), end), Err(Refused::Expired));
            assert_eq!(token.check("", Some(end), end), Err(Refused::Used));
        }
    }

    #[test]
    fn a_wrong_token_learns_nothing_of_the_right_one() {
        let (stored, other) = (draw().unwrap(), draw().unwrap());
        let wrong = RegisterToken::parse(&hex_of(&other)).unwrap();
        let long_ago = Some(at(-86_400));
        assert_eq!(wrong.check(&stored, None, at(0)), Err(Refused::Wrong));
        assert_eq!(wrong.check(&stored, long_ago, at(0)), Err(Refused::Wrong));
        assert_eq!(wrong.check("not base64!", None, at(0)), Err(Refused::Wrong));
        assert_eq!(format!("{wrong:?}"), "RegisterToken(…)");
    }

    proptest! {
        /// Only the token itself matches: no prefix, no extension, no token that differs in one bit.
        #[test]
        fn nothing_else_opens(given in "[0-9a-f]{0,80}|\\PC{0,40}", bit in 0_usize..128) {
            let stored = draw().unwrap();
            let right = hex_of(&stored);
            if let Ok(token) = RegisterToken::parse(&given) {
                prop_assert_eq!(token.check(&stored, None, at(0)), Err(Refused::Wrong));
            }
            let mut near = STANDARD.decode(&stored).unwrap();
            near[bit / 8] ^= 1 << (bit % 8);
            for near in [hex::encode(near), right[..30].to_owned(), format!("{right}00")] {
                let token = RegisterToken::parse(&near).unwrap();
                prop_assert_eq!(token.check(&stored, None, at(0)), Err(Refused::Wrong));
            }
        }
    }

    #[test]
    fn a_token_is_hexadecimal() {
        let long = "0".repeat(200);
        for wrong in ["", "zz", "0", "0123 ", "é", long.as_str()] {
            assert!(RegisterToken::parse(wrong).is_err(), "{wrong}");
        }
    }
}
