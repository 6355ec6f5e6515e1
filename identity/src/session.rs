//! The sessions of an owner's browsers.
//!
//! A session is a document of the instance. Its cookie is the unpadded base64url of eight bytes of time, the id of the
//! document and a MAC, as in the compatible software, so that a session that either of the two made opens both.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::hmac;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::time::Time;

/// How long a session lives after it was seen last.
pub const LIFE: Duration = Duration::from_secs(30 * 24 * 3600);
/// How old the noted time may be before it is written again.
const NOTED_EVERY: Duration = Duration::from_secs(24 * 3600);

/// The longest value of a cookie.
const LONGEST: usize = 256;
const TIME: usize = 8;
const MAC: usize = 32;
/// The cookie of instances whose apps have hosts below the instance's.
const NESTED: &str = "cozysessid";

/// How long the browser keeps the cookie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// For the moment in which an OAuth client asks for consent.
    Short,
    /// Until the browser is closed.
    #[default]
    Normal,
    /// Until the owner logs out.
    Long,
}

impl Kind {
    /// The `Max-Age` of the cookie, in seconds; `None` until the browser is closed.
    #[must_use]
    pub const fn max_age(self) -> Option<u64> {
        match self {
            Self::Short => Some(300),
            Self::Normal => None,
            Self::Long => Some(315_360_000),
        }
    }
}

/// The document of a session. Unknown members, written by other software, are kept.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct Session {
    /// When the owner logged in.
    pub created_at: Time,
    /// When it was used last, to the day.
    pub last_seen: Time,
    /// Whether the owner wanted to stay logged in.
    #[serde(default)]
    pub long_run: bool,
    /// Whether it is for a moment only.
    #[serde(default)]
    pub short_run: bool,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

impl Session {
    /// A session that begins now.
    #[must_use]
    pub fn new(kind: Kind, now: Time) -> Self {
        Self {
            created_at: now,
            last_seen: now,
            long_run: kind == Kind::Long,
            short_run: kind == Kind::Short,
            rest: Map::new(),
        }
    }

    /// Whether it was not used for so long that it has ended.
    #[must_use]
    pub fn is_over(&self, now: Time) -> bool {
        now.since(self.last_seen) >= LIFE
    }

    /// When it ends unless it is used.
    #[must_use]
    pub fn ends_at(&self) -> Time {
        self.last_seen.checked_add(LIFE).unwrap_or(Time::MAX)
    }

    /// Notes that it is used now. Returns whether that has to be written.
    pub fn is_seen(&mut self, now: Time) -> bool {
        let is_due = now.since(self.last_seen) >= NOTED_EVERY;
        if is_due {
            self.last_seen = now;
        }
        is_due
    }
}

/// The name of an instance's session cookie. With flat hosts all instances of a domain see the cookies of all, so each has
/// a name of its own.
#[must_use]
pub fn cookie_name(prefix: &str, is_flat: bool) -> String {
    if is_flat {
        format!("sess-{prefix}")
    } else {
        NESTED.to_owned()
    }
}

fn mac_key(key: &[u8]) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, key)
}

/// The value of the cookie `name` for the session with this id.
#[must_use]
pub fn seal(key: &[u8], name: &str, id: &str, now: Time) -> String {
    let seconds = u64::try_from(now.to_unix().0).unwrap_or_default();
    let mut value = seconds.to_be_bytes().to_vec();
    value.extend_from_slice(id.as_bytes());
    let signed = [name.as_bytes(), &value].concat();
    value.extend_from_slice(hmac::sign(&mac_key(key), &signed).as_ref());
    URL_SAFE_NO_PAD.encode(value)
}

/// The id of the session that a cookie proves; `None` when it proves none.
#[must_use]
pub fn open(key: &[u8], name: &str, value: &str) -> Option<String> {
    if value.len() > LONGEST {
        return None;
    }
    let value = URL_SAFE_NO_PAD.decode(value).ok()?;
    let (content, mac) = value.split_at_checked(value.len().checked_sub(MAC)?)?;
    let id = content.get(TIME..).filter(|id| !id.is_empty())?;
    // The name that is signed is that of the cookie. With flat hosts, what other software signs is not known for certain:
    // the general name proves as much, because the key belongs to this instance alone.
    let is_signed = [name, NESTED].into_iter().any(|name| {
        let signed = [name.as_bytes(), content].concat();
        hmac::verify(&mac_key(key), &signed, mac).is_ok()
    });
    is_signed.then(|| String::from_utf8(id.to_vec()).ok())?
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        reason = "a failed expectation is the test failing"
    )]

    use std::time::Duration;

    use serde_json::json;

    use super::{Kind, LIFE, Session, cookie_name, open, seal};
    use crate::time::Time;

    const ID: &str = "0123456789abcdef0123456789abcdef";

    fn now() -> Time {
        Time::from_unix(1_800_000_000, 0).unwrap()
    }

    #[test]
    fn a_cookie_proves_its_session_and_no_other() {
        let value = seal(b"2:key", "cozysessid", ID, now());
        assert_eq!(value.len(), 96);
        // Computed with Python's hmac over b"cozysessid" + struct.pack(">Q", 1800000000) + the id.
        assert_eq!(
            value,
            "AAAAAGtJ0gAwMTIzNDU2Nzg5YWJjZGVmMDEyMzQ1Njc4OWFiY2RlZjwDdHwpAyIls-oeJHOQ9Umbb-R2615PqAoapbN6OFUG"
        );
        assert_eq!(open(b"2:key", "cozysessid", &value).as_deref(), Some(ID));
        assert_eq!(open(b"2:other", "cozysessid", &value), None);
        let flat = cookie_name("cozy0123", true);
        assert_eq!(flat, "sess-cozy0123");
        let of_flat = seal(b"2:key", &flat, ID, now());
        assert_eq!(open(b"2:key", &flat, &of_flat).as_deref(), Some(ID));
        assert_eq!(open(b"2:key", "sess-cozy4567", &of_flat), None);
        let mut changed = value.clone().into_bytes();
        for position in 0..changed.len() {
            let before = changed[position];
            changed[position] = if before == b'A' { b'B' } else { b'A' };
            let text = String::from_utf8(changed.clone()).unwrap();
            assert_ne!(
                open(b"2:key", "cozysessid", &text).as_deref(),
                Some(ID),
                "{position}"
            );
            changed[position] = before;
        }
        for wrong in ["", "x", &"A".repeat(54), &"A".repeat(257), "ä"] {
            assert_eq!(open(b"2:key", "cozysessid", wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_session_ends_when_it_is_not_used() {
        let mut session = Session::new(Kind::Normal, now());
        let later = |seconds| now().checked_add(Duration::from_secs(seconds)).unwrap();
        assert!(!session.is_seen(later(24 * 3600 - 1)));
        assert!(session.is_seen(later(24 * 3600)));
        assert_eq!(session.last_seen, later(24 * 3600));
        let life = LIFE.as_secs();
        assert!(!session.is_over(later(life)));
        assert!(session.is_over(later(life + 24 * 3600)));
    }

    #[test]
    fn documents_of_other_software_are_read_and_kept() {
        let theirs = json!({
            "created_at": "2026-11-23T10:00:00.123456Z", "last_seen": "2026-11-24T10:00:00.000000Z",
            "long_run": true, "short_run": false, "sid": "x", "oidc_provider_key": "y"
        });
        let session: Session = serde_json::from_value(theirs.clone()).unwrap();
        assert!(session.long_run);
        assert_eq!(serde_json::to_value(&session).unwrap(), theirs);
        let ours = Session::new(Kind::Long, now());
        assert_eq!(
            serde_json::to_value(ours).unwrap(),
            json!({
                "created_at": "2027-01-15T08:00:00.000000Z", "last_seen": "2027-01-15T08:00:00.000000Z",
                "long_run": true, "short_run": false
            })
        );
    }
}
