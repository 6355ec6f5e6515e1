//! Values that pages and cookies carry, and that nobody may guess.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::hmac;
use subtle::ConstantTimeEq as _;

/// The name of the cookie that a form has to repeat.
pub const CSRF_COOKIE: &str = "_csrf";
/// How long that cookie lives, in seconds.
pub const CSRF_LIFE: u64 = 3600;
/// How many letters and digits random values have.
const LENGTH: usize = 32;

/// The name of the cookie of a browser from which the owner has logged in before.
pub const DEVICE_COOKIE: &str = "hamlet-device";
/// How long that cookie lives, in seconds.
pub const DEVICE_LIFE: u64 = 365 * 24 * 3600;
const DEVICE: usize = 16;

const LETTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// A new id of a document: 32 hex digits that ascend with time.
#[must_use]
pub fn new_id() -> String {
    uuid::Uuid::now_v7().simple().to_string()
}

/// A new value for [`CSRF_COOKIE`].
///
/// # Errors
/// When the system provides no randomness.
pub fn new_csrf() -> Result<String, getrandom::Error> {
    letters()
}

/// A new code with which an OAuth client fetches its tokens. It is the id of a document.
///
/// # Errors
/// When the system provides no randomness.
pub fn new_code() -> Result<String, getrandom::Error> {
    letters()
}

/// Random letters and digits, of about 190 bits.
fn letters() -> Result<String, getrandom::Error> {
    let mut token = String::with_capacity(LENGTH);
    while token.len() < LENGTH {
        let mut bytes = [0; LENGTH];
        getrandom::fill(&mut bytes)?;
        // Of 256 values, 248 are four times all letters: the others would prefer some.
        let usable = bytes.iter().filter(|byte| usize::from(**byte) < 248);
        let letters = usable.filter_map(|byte| LETTERS.get(usize::from(*byte) % LETTERS.len()));
        token.extend(letters.take(LENGTH - token.len()).map(|it| char::from(*it)));
    }
    Ok(token)
}

/// Whether a text has the form of such a value.
#[must_use]
pub fn is_csrf(text: &str) -> bool {
    text.len() == LENGTH && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// Whether two secret texts are the same.
#[must_use]
pub fn are_same(one: &str, other: &str) -> bool {
    one.as_bytes().ct_eq(other.as_bytes()).into()
}

/// A browser from which the owner has logged in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Device([u8; DEVICE]);

impl Device {
    /// A new one.
    ///
    /// # Errors
    /// When the system provides no randomness.
    pub fn draw() -> Result<Self, getrandom::Error> {
        let mut id = [0; DEVICE];
        getrandom::fill(&mut id)?;
        Ok(Self(id))
    }

    /// The text that stands for it where uses are counted. It proves nothing.
    #[must_use]
    pub fn id(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    /// The value of its cookie.
    #[must_use]
    pub fn seal(self, key: &[u8]) -> String {
        let mac = hmac::sign(&device_key(key), &signed(&self.0));
        URL_SAFE_NO_PAD.encode([&self.0, mac.as_ref()].concat())
    }

    /// The browser that a cookie proves; `None` when it proves none.
    #[must_use]
    pub fn open(key: &[u8], value: &str) -> Option<Self> {
        if value.len() > 128 {
            return None;
        }
        let value = URL_SAFE_NO_PAD.decode(value).ok()?;
        let (id, mac) = value.split_at_checked(DEVICE)?;
        hmac::verify(&device_key(key), &signed(id), mac).ok()?;
        id.try_into().ok().map(Self)
    }
}

fn device_key(key: &[u8]) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, key)
}

/// The key signs other things, too.
fn signed(id: &[u8]) -> Vec<u8> {
    [DEVICE_COOKIE.as_bytes(), b":", id].concat()
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use super::{Device, are_same, is_csrf, new_csrf, new_id};

    #[test]
    fn values_of_forms_are_letters_and_digits() {
        let one = new_csrf().unwrap();
        assert!(is_csrf(&one), "{one}");
        assert_ne!(one, new_csrf().unwrap());
        assert!(are_same(&one, &one.clone()) && !are_same(&one, ""));
        for wrong in ["", "short", &"-".repeat(32)] {
            assert!(!is_csrf(wrong));
        }
        assert_eq!(new_id().len(), 32);
    }

    #[test]
    fn a_device_is_proven_by_its_cookie() {
        let device = Device::draw().unwrap();
        let value = device.seal(b"key");
        assert_eq!(Device::open(b"key", &value), Some(device));
        assert_eq!(Device::open(b"other", &value), None);
        for wrong in ["", "x", &"A".repeat(64), &"A".repeat(200)] {
            assert_eq!(Device::open(b"key", wrong), None, "{wrong}");
        }
    }
}
