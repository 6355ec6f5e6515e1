//! Reading tokens: the converse of [`token`](crate::token).

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::hmac;
use serde::Deserialize;
use serde_json::Value;

use crate::{time::Time, token::Audience};

/// The longest token, in bytes. That of the longest scopes is shorter.
const LONGEST: usize = 16 * 1024;
/// How far the clock of whoever issued a token may be ahead, in seconds.
const AHEAD: i64 = 60;

/// Why a token opens nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// There is none.
    Missing,
    /// It is none, or not one of this instance.
    Wrong,
    /// Its time has passed.
    Expired,
    /// It does not allow this.
    Scope,
}

/// A token whose signature is not checked yet.
#[derive(Debug)]
pub struct Token<'a> {
    /// The type of its bearer.
    pub audience: Audience,
    payload: Payload,
    signed: &'a str,
    signature: Vec<u8>,
}

#[derive(Deserialize)]
struct Head {
    alg: String,
}

#[derive(Debug, Deserialize)]
struct Payload {
    aud: Value,
    #[serde(default)]
    iss: String,
    iat: i64,
    #[serde(default)]
    sub: String,
    #[serde(default)]
    scope: String,
    #[serde(default)]
    session_id: String,
    #[serde(default)]
    stamp: String,
}

/// What a token that was checked says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The domain for which it was made.
    pub issuer: String,
    /// Whose it is: the slug of an app or konnector, or the id of an OAuth client; empty for the command line.
    pub subject: String,
    /// What it allows: rules, separated by spaces. Those of an app are elsewhere.
    pub scope: String,
    /// The session with which it ends; empty when it is bound to none.
    pub session: String,
    /// The state of the owner's passphrase for which it was made; empty when it is bound to none.
    pub stamp: String,
    /// When it ends; `None` when it does not.
    pub ends_at: Option<Time>,
}

impl<'a> Token<'a> {
    /// Reads a token.
    ///
    /// # Errors
    /// [`Refused::Wrong`] when it is none, or of an audience or an algorithm that is not known.
    pub fn read(text: &'a str) -> Result<Self, Refused> {
        Self::parse(text).ok_or(Refused::Wrong)
    }

    fn parse(text: &'a str) -> Option<Self> {
        if text.len() > LONGEST {
            return None;
        }
        let (signed, signature) = text.rsplit_once('.')?;
        let (head, payload) = signed.split_once('.')?;
        let head: Head = part(head)?;
        if head.alg != "HS512" {
            return None;
        }
        let payload: Payload = part(payload)?;
        let audience = match &payload.aud {
            Value::Array(one) if one.len() == 1 => one.first()?.as_str()?,
            Value::String(one) => one,
            _ => return None,
        };
        Some(Self {
            audience: Audience::ALL.into_iter().find(|it| it.name() == audience)?,
            payload,
            signed,
            signature: URL_SAFE_NO_PAD.decode(signature).ok()?,
        })
    }

    /// Checks that one of the `issuers` has signed the token with this key, and that its time has not passed.
    ///
    /// # Errors
    /// [`Refused::Wrong`], [`Refused::Expired`].
    pub fn check(self, key: &[u8], issuers: &[&str], now: Time) -> Result<Checked, Refused> {
        let key = hmac::Key::new(hmac::HMAC_SHA512, key);
        hmac::verify(&key, self.signed.as_bytes(), &self.signature).map_err(|_| Refused::Wrong)?;
        let age = now.to_unix().0.saturating_sub(self.payload.iat);
        let Payload {
            iss,
            iat,
            sub,
            scope,
            session_id,
            stamp,
            ..
        } = self.payload;
        if iss.is_empty() || !issuers.contains(&iss.as_str()) || age < -AHEAD {
            return Err(Refused::Wrong);
        }
        let life = self.audience.life_in(&session_id);
        let life = life.map(|life| i64::try_from(life.as_secs()).unwrap_or(i64::MAX));
        if life.is_some_and(|life| age >= life) {
            return Err(Refused::Expired);
        }
        Ok(Checked {
            issuer: iss,
            subject: sub,
            scope,
            session: session_id,
            stamp,
            ends_at: life.and_then(|life| Time::from_unix(iat.saturating_add(life), 0)),
        })
    }
}

fn part<T: serde::de::DeserializeOwned>(text: &str) -> Option<T> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use super::{Audience, Refused, Time, Token, URL_SAFE_NO_PAD};
    use crate::token::Claims;
    use base64::Engine as _;

    fn at(seconds: i64) -> Time {
        Time::from_unix(1_800_000_000 + seconds, 0).unwrap()
    }

    fn token(audience: Audience) -> String {
        let claims = Claims {
            audience,
            issuer: "a.example",
            subject: "",
            scope: "io.cozy.apps",
            session: "",
        };
        claims.sign(b"key", at(0), None).unwrap()
    }

    fn check(text: &str, key: &[u8], issuer: &str, now: i64) -> Result<String, Refused> {
        let checked = Token::read(text)?.check(key, &[issuer, ""], at(now))?;
        Ok(checked.scope)
    }

    #[test]
    fn a_token_opens_what_it_says_until_its_time_has_passed() {
        let allowed = Ok("io.cozy.apps".to_owned());
        let text = token(Audience::Cli);
        assert_eq!(check(&text, b"key", "a.example", 0), allowed);
        assert_eq!(check(&text, b"key", "a.example", 1799), allowed);
        assert_eq!(
            check(&text, b"key", "a.example", 1800),
            Err(Refused::Expired)
        );
        assert_eq!(check(&text, b"key", "a.example", -61), Err(Refused::Wrong));
        assert_eq!(check(&text, b"other", "a.example", 0), Err(Refused::Wrong));
        assert_eq!(check(&text, b"key", "b.example", 0), Err(Refused::Wrong));
        let for_ever = token(Audience::Refresh);
        assert_eq!(check(&for_ever, b"key", "a.example", 1 << 30), allowed);
    }

    #[test]
    fn what_is_no_token_is_refused() {
        let text = token(Audience::Cli);
        let (signed, signature) = text.rsplit_once('.').unwrap();
        let (_, payload) = signed.split_once('.').unwrap();
        let none = URL_SAFE_NO_PAD.encode(br#"{"alg":"none"}"#);
        for wrong in [
            String::new(),
            "a.b.c".to_owned(),
            signed.to_owned(),
            format!("{signed}."),
            format!("{signed}.{signature}A"),
            format!("{none}.{payload}."),
            format!("{none}.{payload}.{signature}"),
            "x".repeat(20_000),
        ] {
            let refused = check(&wrong, b"key", "a.example", 0);
            assert_eq!(refused, Err(Refused::Wrong), "{wrong:.80}");
        }
        // A part that was changed has another signature.
        for position in 0..signed.len() {
            let mut changed = text.clone().into_bytes();
            let byte = changed.get_mut(position).unwrap();
            *byte = if *byte == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert!(
                check(&changed, b"key", "a.example", 0).is_err(),
                "{position}"
            );
        }
    }
}
