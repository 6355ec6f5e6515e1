//! Authentication of the administrator by password or cookie.

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use hmac::{Hmac, Mac as _};
use http::header;
use secret::{Keyring, Secret};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::{clock::now, request::ApiRequest};
use crate::api_error::ApiError;

/// The lifetime of a cookie in seconds, as in CouchDB.
pub(crate) const COOKIE_SECONDS: i64 = 600;

/// The credentials of the administrator.
pub(crate) struct Auth {
    pub(crate) user: String,
    password: Keyring,
    /// The key that signs cookies, together with the password.
    secret: String,
}

/// How a caller was authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    Nobody,
    ByPassword,
    ByCookie,
}

impl Auth {
    pub(crate) const fn new(user: String, password: Keyring, secret: String) -> Self {
        Self {
            user,
            password,
            secret,
        }
    }

    /// Whether these are the credentials of the administrator.
    pub(crate) fn accepts(&self, user: &str, password: &str) -> bool {
        // Both comparisons always run, so that the time does not reveal which one failed.
        let same_password = self.password.accepts(password);
        let same_user = bool::from(user.as_bytes().ct_eq(self.user.as_bytes()));
        same_password & same_user
    }

    fn sign(&self, message: &str, password: &Secret) -> Vec<u8> {
        // A cookie becomes invalid when the password changes.
        let mut key = self.secret.as_bytes().to_vec();
        key.extend_from_slice(&Sha256::digest(password.expose().as_bytes()));
        match Hmac::<Sha256>::new_from_slice(&key) {
            Ok(mut mac) => {
                mac.update(message.as_bytes());
                mac.finalize().into_bytes().to_vec()
            }
            // HMAC accepts a key of any length.
            Err(_) => Vec::new(),
        }
    }

    /// The value of a new cookie, signed at `now` (seconds since 1970).
    pub(crate) fn cookie(&self, now: i64) -> String {
        let message = format!("{}:{now:X}", self.user);
        let mut token = message.clone().into_bytes();
        token.push(b':');
        token.extend(self.sign(&message, &self.password.current()));
        URL_SAFE_NO_PAD.encode(token)
    }

    fn accepts_cookie(&self, cookie: &str, now: i64) -> bool {
        let Ok(token) = URL_SAFE_NO_PAD.decode(cookie) else {
            return false;
        };
        let Some(at) = token.len().checked_sub(32) else {
            return false;
        };
        let (front, signature) = token.split_at(at);
        let Some(message) = front
            .strip_suffix(b":")
            .and_then(|front| std::str::from_utf8(front).ok())
        else {
            return false;
        };
        let Some((user, made)) = message.rsplit_once(':') else {
            return false;
        };
        let Ok(made) = i64::from_str_radix(made, 16) else {
            return false;
        };
        user == self.user
            && (made..made + COOKIE_SECONDS).contains(&now)
            && self.password.all().iter().any(|password| {
                self.sign(message, password)
                    .as_slice()
                    .ct_eq(signature)
                    .into()
            })
    }

    /// Authenticates the caller. A wrong password is an error even where none is needed.
    pub(crate) fn caller(&self, request: &ApiRequest) -> Result<Caller, ApiError> {
        let cookies = request.header(header::COOKIE).unwrap_or_default();
        let cookie = cookies
            .split(';')
            .find_map(|part| part.trim().strip_prefix("AuthSession="));
        if cookie.is_some_and(|cookie| self.accepts_cookie(cookie.trim_matches('"'), now())) {
            return Ok(Caller::ByCookie);
        }
        let given = request.header(header::AUTHORIZATION).unwrap_or_default();
        let encoded = given
            .strip_prefix("Basic ")
            .or_else(|| given.strip_prefix("basic "));
        let Some(encoded) = encoded else {
            return Ok(Caller::Nobody);
        };
        let pair = STANDARD
            .decode(encoded.trim())
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok());
        let pair = pair.unwrap_or_default();
        let (user, password) = pair.split_once(':').unwrap_or((&pair, ""));
        if self.accepts(user, password) {
            Ok(Caller::ByPassword)
        } else {
            Err(wrong_credentials())
        }
    }
}

/// The error for wrong credentials.
pub(crate) fn wrong_credentials() -> ApiError {
    ApiError::unauthorized("Name or password is incorrect.")
}
