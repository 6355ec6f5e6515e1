//! Tokens: JSON Web Tokens (RFC 7519) signed with HMAC-SHA-512, with the claims of the compatible software.
//!
//! They contain no expiry: the reader adds the usual lifetime of their audience to `iat`. A token with a
//! shorter lifetime is therefore dated back.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::hmac;
use serde::Serialize;

use super::time::Time;

/// The type of a token's bearer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// A web app.
    App,
    /// A konnector.
    Konnector,
    /// The command line.
    Cli,
    /// An OAuth client.
    Access,
    /// An OAuth client that requests a new access token.
    Refresh,
    /// An OAuth client that changes its registration.
    Registration,
}

impl Audience {
    /// All types.
    pub(super) const ALL: [Self; 6] = [
        Self::App,
        Self::Konnector,
        Self::Cli,
        Self::Access,
        Self::Refresh,
        Self::Registration,
    ];

    /// Its name in the claim `aud`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::App => "app",
            Self::Konnector => "konn",
            Self::Cli => "cli",
            Self::Access => "access",
            Self::Refresh => "refresh",
            Self::Registration => "registration",
        }
    }

    /// The usual lifetime of such a token that is bound to no session; `None` when it does not expire.
    #[must_use]
    pub const fn life(self) -> Option<Duration> {
        match self {
            Self::App | Self::Konnector | Self::Cli => Some(Duration::from_secs(30 * 60)),
            Self::Access => Some(Duration::from_secs(7 * 24 * 3600)),
            Self::Refresh | Self::Registration => None,
        }
    }

    /// The usual lifetime of such a token. One of an app lives longer where it is bound to a session, with which it ends.
    #[must_use]
    pub const fn life_in(self, session: &str) -> Option<Duration> {
        match self {
            Self::App if !session.is_empty() => Some(Duration::from_secs(24 * 3600)),
            _ => self.life(),
        }
    }

    /// Whether the token carries permissions. Those of an app are in its manifest.
    #[must_use]
    pub const fn has_scopes(self) -> bool {
        matches!(self, Self::Cli | Self::Access | Self::Refresh)
    }
}

/// The content of a token.
#[derive(Clone, Debug)]
pub struct Claims<'a> {
    /// The type of its bearer.
    pub audience: Audience,
    /// The instance's main domain.
    pub issuer: &'a str,
    /// A slug or the id of an OAuth client; empty for the command line.
    pub subject: &'a str,
    /// The permissions, separated by spaces; empty for apps.
    pub scope: &'a str,
    /// The session with which it ends; empty when it is bound to none.
    pub session: &'a str,
}

/// The claims in the order of the compatible software.
#[derive(Serialize)]
struct Payload<'a> {
    aud: [&'a str; 1],
    iss: &'a str,
    iat: i64,
    #[serde(skip_serializing_if = "str::is_empty")]
    sub: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    scope: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    session_id: &'a str,
}

impl Claims<'_> {
    /// The token, issued `now`, with the lifetime `life`; `None` for the usual one.
    ///
    /// # Errors
    /// Never in practice: the claims are strings and a number.
    pub fn sign(
        &self,
        key: &[u8],
        now: Time,
        life: Option<Duration>,
    ) -> Result<String, serde_json::Error> {
        let shortened = match (self.audience.life_in(self.session), life) {
            (Some(usual), Some(life)) => usual.saturating_sub(life),
            _ => Duration::ZERO,
        };
        let issued = now.checked_sub(shortened).unwrap_or(Time::MIN);
        let payload = Payload {
            aud: [self.audience.name()],
            iss: self.issuer,
            iat: issued.to_unix().0,
            sub: self.subject,
            scope: self.scope,
            session_id: self.session,
        };
        let head = URL_SAFE_NO_PAD.encode(br#"{"alg":"HS512","typ":"JWT"}"#);
        let payload = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&payload)?);
        let signed = format!("{head}.{payload}");
        let key = hmac::Key::new(hmac::HMAC_SHA512, key);
        let signature = URL_SAFE_NO_PAD.encode(hmac::sign(&key, signed.as_bytes()));
        Ok(format!("{signed}.{signature}"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        reason = "a failed expectation is the test failing"
    )]

    use std::time::Duration;

    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    use serde_json::{Value, json};

    use super::{Audience, Claims, Time};

    fn now() -> Time {
        Time::from_unix(1_800_000_000, 0).unwrap()
    }

    fn part(token: &str, position: usize) -> Value {
        let part = token.split('.').nth(position).unwrap();
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
    }

    #[test]
    fn tokens_match_those_of_the_compatible_software() {
        let claims = Claims {
            audience: Audience::Cli,
            issuer: "bob.localhost:8085",
            subject: "",
            scope: "io.cozy.apps io.cozy.files:GET",
            session: "",
        };
        let token = claims.sign(b"the key", now(), None).unwrap();
        assert_eq!(part(&token, 0), json!({"alg": "HS512", "typ": "JWT"}));
        assert_eq!(
            part(&token, 1),
            json!({
                "aud": ["cli"], "iss": "bob.localhost:8085", "iat": 1_800_000_000,
                "scope": "io.cozy.apps io.cozy.files:GET"
            })
        );
        // Computed with Python's hmac over the same two parts.
        assert!(token.ends_with(".n5thM2ZUiMwsEbcv_1oTcnmSg_bTAgJjilnhvErrXdVHa2inoKF-AHMKwDpLAro2NjAPve_9yTt9MJuF9Q9e6g"), "{token}");
    }

    #[test]
    fn a_token_with_a_shorter_lifetime_is_dated_back() {
        for (audience, session, life, dated_back) in [
            (Audience::App, "", None, 0),
            (Audience::App, "", Some(60), 29 * 60),
            (Audience::App, "it", Some(3600), 23 * 3600),
            (Audience::Konnector, "", Some(60), 29 * 60),
            (Audience::Cli, "", Some(30 * 60), 0),
            (Audience::Access, "", Some(24 * 3600), 6 * 24 * 3600),
            (Audience::Refresh, "", None, 0),
        ] {
            let claims = Claims {
                audience,
                issuer: "a.example",
                subject: "home",
                scope: "",
                session,
            };
            let token = claims
                .sign(b"k", now(), life.map(Duration::from_secs))
                .unwrap();
            let payload = part(&token, 1);
            assert_eq!(payload["iat"], 1_800_000_000 - dated_back, "{audience:?}");
            assert_eq!(payload["sub"], "home");
            assert_eq!(payload.get("scope"), None);
            assert_eq!(payload.get("session_id").is_some(), !session.is_empty());
        }
    }
}
