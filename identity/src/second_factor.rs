//! What comes by mail and opens an instance: the code of a second factor, and a link. And browsers from which no code is
//! asked for.
//!
//! Nothing of it is stored. What is handed out is signed with the key of the instance's sessions, so a change of the
//! passphrase ends all of it. A code belongs to one challenge, which the browser keeps: nobody can use it who has not
//! begun the login.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{digest, hmac};

use crate::{browser::describe, secrets::are_same, time::Time};

/// How long a code or a link works.
pub const LIFE: Duration = Duration::from_secs(15 * 60);
/// How long no code is asked for from a browser that the owner trusts.
pub const TRUST_LIFE: Duration = Duration::from_secs(365 * 24 * 3600);
/// How many wrong codes a challenge bears.
pub const WRONG_CODES: u32 = 5;

/// The most challenges whose wrong codes are counted.
const COUNTED: usize = 10_000;
/// The longest value that is read.
const LONGEST: usize = 256;
const TIME: usize = 8;
const SALT: usize = 32;
const MAC: usize = 32;
/// What a trusted browser keeps.
const TRUST: &str = "trusted-device";

/// What a challenge is for. A value for one purpose proves nothing for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The second step of a login.
    LogIn,
    /// A change of the passphrase.
    ChangePassphrase,
    /// A link that logs in.
    MagicLink,
}

impl Purpose {
    const fn name(self) -> &'static str {
        match self {
            Self::LogIn => "totp",
            Self::ChangePassphrase => "totp-passphrase",
            Self::MagicLink => "magic-link",
        }
    }
}

/// A random value that stands for one try to get in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Challenge([u8; SALT]);

impl std::fmt::Debug for Challenge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Challenge(…)")
    }
}

impl Challenge {
    /// A new one.
    ///
    /// # Errors
    /// When the system provides no randomness.
    pub fn draw() -> Result<Self, getrandom::Error> {
        let mut salt = [0; SALT];
        getrandom::fill(&mut salt)?;
        Ok(Self(salt))
    }

    /// The token that stands for it.
    #[must_use]
    pub fn seal(&self, key: &[u8], purpose: Purpose, now: Time) -> String {
        seal(key, purpose.name(), &self.0, now)
    }

    /// The challenge that a token stands for; `None` when it is not one of this purpose, or has expired.
    #[must_use]
    pub fn open(key: &[u8], purpose: Purpose, token: &str, now: Time) -> Option<Self> {
        let (made_at, salt) = open(key, purpose.name(), token)?;
        if !is_within(made_at, LIFE, now) {
            return None;
        }
        salt.try_into().ok().map(Self)
    }

    /// The code of six digits that answers it.
    #[must_use]
    pub fn code(&self, key: &[u8]) -> String {
        digits(key, &[b"code:", &self.0])
    }

    /// Whether a code answers it. Spaces, with which some write codes, are no part of it.
    #[must_use]
    pub fn is_answered_by(&self, key: &[u8], code: &str) -> bool {
        are_same(&self.code(key), &without_spaces(code))
    }

    /// An id of 32 hex digits that belongs to it alone.
    #[must_use]
    pub fn id(&self) -> String {
        let hash = digest::digest(&digest::SHA256, &self.0);
        let bytes = hash.as_ref().iter().take(16);
        bytes.map(|byte| format!("{byte:02x}")).collect()
    }
}

/// The code by which the owner proves to read the mail of an address. It is the same for some minutes.
#[must_use]
pub fn confirmation(key: &[u8], address: &str, now: Time) -> String {
    confirmation_of(key, address, step(now))
}

/// Whether a code is a confirmation of the address that was made at most twice [`LIFE`] ago.
#[must_use]
pub fn is_confirmation(key: &[u8], address: &str, code: &str, now: Time) -> bool {
    let code = without_spaces(code);
    let present = step(now);
    [present, present - 1].into_iter().fold(false, |is, step| {
        is | are_same(&confirmation_of(key, address, step), &code)
    })
}

fn step(now: Time) -> i64 {
    let life = i64::try_from(LIFE.as_secs()).unwrap_or(i64::MAX);
    now.to_unix().0.div_euclid(life)
}

fn confirmation_of(key: &[u8], address: &str, step: i64) -> String {
    digits(key, &[b"confirm:", &step.to_be_bytes(), address.as_bytes()])
}

/// The token by which a browser of an instance is trusted from now on.
#[must_use]
pub fn trust(key: &[u8], domain: &str, user_agent: &str, now: Time) -> String {
    seal(key, TRUST, device(domain, user_agent).as_ref(), now)
}

/// Whether a token makes this browser of the instance a trusted one.
#[must_use]
pub fn is_trusted(key: &[u8], domain: &str, user_agent: &str, token: &str, now: Time) -> bool {
    open(key, TRUST, token).is_some_and(|(made_at, value)| {
        value == device(domain, user_agent).as_ref() && is_within(made_at, TRUST_LIFE, now)
    })
}

/// The token is bound to the browser and its system, not to their versions.
fn device(domain: &str, user_agent: &str) -> digest::Digest {
    let (browser, system) = describe(user_agent);
    let text = format!("{domain}\n{browser}\n{system}");
    digest::digest(&digest::SHA256, text.as_bytes())
}

fn is_within(made_at: Time, life: Duration, now: Time) -> bool {
    // Clocks of replicas differ a little: what was made in the near future counts as made now.
    made_at.since(now) < Duration::from_secs(60) && now.since(made_at) < life
}

fn without_spaces(code: &str) -> String {
    code.chars().filter(|it| !it.is_whitespace()).collect()
}

/// Six digits that follow from the key and the parts.
fn digits(key: &[u8], parts: &[&[u8]]) -> String {
    let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), &parts.concat());
    let first = mac.as_ref().iter().take(8);
    let number = first.fold(0_u64, |number, byte| (number << 8) | u64::from(*byte));
    format!("{:06}", number % 1_000_000)
}

/// Eight bytes of time, the value, and a MAC over the name and both, as in the cookies of sessions.
fn seal(key: &[u8], name: &str, value: &[u8], now: Time) -> String {
    let seconds = u64::try_from(now.to_unix().0).unwrap_or_default();
    let mut sealed = seconds.to_be_bytes().to_vec();
    sealed.extend_from_slice(value);
    let signed = [name.as_bytes(), &sealed].concat();
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    sealed.extend_from_slice(hmac::sign(&key, &signed).as_ref());
    URL_SAFE_NO_PAD.encode(sealed)
}

fn open(key: &[u8], name: &str, sealed: &str) -> Option<(Time, Vec<u8>)> {
    if sealed.len() > LONGEST {
        return None;
    }
    let sealed = URL_SAFE_NO_PAD.decode(sealed).ok()?;
    let (content, mac) = sealed.split_at_checked(sealed.len().checked_sub(MAC)?)?;
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    let signed = [name.as_bytes(), content].concat();
    hmac::verify(&key, &signed, mac).ok()?;
    let (time, value) = content.split_at_checked(TIME)?;
    let seconds = u64::from_be_bytes(time.try_into().ok()?);
    let made_at = Time::from_unix(i64::try_from(seconds).ok()?, 0)?;
    Some((made_at, value.to_vec()))
}

/// The wrong codes of challenges, in the memory of this process.
#[derive(Debug, Default)]
pub struct WrongCodes(Mutex<HashMap<String, (u32, Option<Time>)>>);

impl WrongCodes {
    /// Counts a try to answer a challenge, which counts as a wrong one. Returns whether the challenge bears it.
    pub fn begin(&self, challenge: &Challenge, now: Time) -> bool {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let id = challenge.id();
        if counted.len() >= COUNTED && !counted.contains_key(&id) {
            counted.retain(|_, (_, at)| at.is_some_and(|at| now.since(at) < LIFE));
            if counted.len() >= COUNTED {
                // A flood of challenges, each of which costs a right passphrase: nobody answers one until it is over.
                return false;
            }
        }
        let (tries, at) = counted.entry(id).or_default();
        at.get_or_insert(now);
        *tries = tries.saturating_add(1);
        *tries <= WRONG_CODES
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use std::time::Duration;

    use super::{
        Challenge, LIFE, Purpose, TRUST_LIFE, WRONG_CODES, WrongCodes, confirmation,
        is_confirmation, is_trusted, trust,
    };
    use crate::time::Time;

    const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";

    fn at(seconds: u64) -> Time {
        let start = Time::from_unix(1_800_000_000, 0).unwrap();
        start.checked_add(Duration::from_secs(seconds)).unwrap()
    }

    #[test]
    fn a_token_stands_for_its_challenge_until_it_expires() {
        let challenge = Challenge::draw().unwrap();
        let token = challenge.seal(b"key", Purpose::LogIn, at(0));
        let open = |key: &[u8], purpose, now| Challenge::open(key, purpose, &token, now);
        let life = LIFE.as_secs();
        assert_eq!(open(b"key", Purpose::LogIn, at(life - 1)), Some(challenge));
        assert_eq!(open(b"key", Purpose::LogIn, at(life)), None);
        assert_eq!(open(b"other", Purpose::LogIn, at(0)), None);
        assert_eq!(open(b"key", Purpose::MagicLink, at(0)), None);
        assert_eq!(open(b"key", Purpose::ChangePassphrase, at(0)), None);
        for wrong in ["", "x", &"A".repeat(96), &"A".repeat(300), "ä"] {
            assert_eq!(Challenge::open(b"key", Purpose::LogIn, wrong, at(0)), None);
        }
        assert_eq!(challenge.id().len(), 32);
        assert_eq!(format!("{challenge:?}"), "Challenge(…)");
    }

    #[test]
    fn one_code_answers_a_challenge() {
        let (one, other) = (Challenge::draw().unwrap(), Challenge::draw().unwrap());
        let code = one.code(b"key");
        assert!(code.len() == 6 && code.bytes().all(|it| it.is_ascii_digit()));
        assert!(one.is_answered_by(b"key", &code));
        let (left, right) = code.split_at(3);
        assert!(one.is_answered_by(b"key", &format!(" {left} {right}\n")));
        let right = (0..1_000_000)
            .filter(|number| one.is_answered_by(b"key", &format!("{number:06}")))
            .count();
        assert_eq!(right, 1);
        assert_ne!(
            (one.code(b"key"), one.code(b"other")),
            (other.code(b"key"), other.code(b"other"))
        );
    }

    #[test]
    fn a_challenge_bears_few_wrong_codes() {
        let (one, other) = (Challenge::draw().unwrap(), Challenge::draw().unwrap());
        let wrong = WrongCodes::default();
        let borne = (0..100).filter(|_| wrong.begin(&one, at(0))).count();
        assert_eq!(u32::try_from(borne), Ok(WRONG_CODES));
        assert!(wrong.begin(&other, at(0)));
    }

    #[test]
    fn a_mail_address_is_confirmed_for_some_minutes() {
        let code = confirmation(b"key", "a@b.example", at(0));
        let is = |address, now| is_confirmation(b"key", address, &code, now);
        assert!(is("a@b.example", at(0)) && is("a@b.example", at(LIFE.as_secs())));
        assert!(!is("a@b.example", at(LIFE.as_secs() * 2)));
        assert!(!is("other@b.example", at(0)));
        assert!(!is_confirmation(b"other", "a@b.example", &code, at(0)));
    }

    #[test]
    fn a_browser_is_trusted_for_its_instance() {
        let token = trust(b"key", "a.example", FIREFOX, at(0));
        let is = |domain, agent, now| is_trusted(b"key", domain, agent, &token, now);
        let newer = FIREFOX.replace("140", "141");
        assert!(is("a.example", FIREFOX, at(0)) && is("a.example", &newer, at(60)));
        assert!(!is("b.example", FIREFOX, at(0)) && !is("a.example", "curl/8", at(0)));
        assert!(!is("a.example", FIREFOX, at(TRUST_LIFE.as_secs())));
        assert!(!is_trusted(b"other", "a.example", FIREFOX, &token, at(0)));
    }
}
