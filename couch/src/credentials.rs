//! The credentials of a client, whose password may change at any time.

use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use reqwest::header::HeaderValue;
use secret::{Keyring, Secret};

use crate::error::{Error, Result};

/// A user and the passwords that the server may accept. The newest password is tried first. If the server
/// refuses it, the others follow.
pub(crate) struct Credentials {
    user: String,
    password: Keyring,
    /// The newest password, if the server refused it and accepted another one. It is then tried last.
    refused: Mutex<Option<Secret>>,
}

impl Credentials {
    pub(crate) fn new(user: String, password: Keyring) -> Result<Self> {
        let credentials = Self {
            user,
            password,
            refused: Mutex::new(None),
        };
        // Checked here once; base64 is always a valid header value.
        credentials.header(&credentials.password.current())?;
        Ok(credentials)
    }

    /// The next password to try after those in `tried`, if there is one.
    pub(crate) fn next(&self, tried: &[Secret]) -> Option<Secret> {
        if !tried.is_empty() {
            self.password.refresh();
        }
        let mut all = self.password.all();
        if let (Some(refused), Some(first)) = (&*self.refused(), all.first())
            && equal(refused, first)
        {
            // The other passwords stay in order, the newest first.
            all.rotate_left(1);
        }
        all.into_iter()
            .find(|password| !tried.iter().any(|other| equal(other, password)))
    }

    /// Records that the server accepted `password` after it had refused those in `tried`.
    pub(crate) fn record_accepted(&self, password: &Secret, tried: &[Secret]) {
        let current = self.password.current();
        let mut refused = self.refused();
        if equal(password, &current) {
            *refused = None;
        } else if tried.iter().any(|other| equal(other, &current)) {
            *refused = Some(current);
        }
    }

    pub(crate) fn header(&self, password: &Secret) -> Result<HeaderValue> {
        let pair = format!("{}:{}", self.user, password.expose());
        let encoded = base64::engine::general_purpose::STANDARD.encode(pair);
        let mut header =
            HeaderValue::from_str(&format!("Basic {encoded}")).map_err(|_| Error::Config {
                setting: "password",
                reason: "it cannot stand in a header".to_owned(),
            })?;
        header.set_sensitive(true);
        Ok(header)
    }

    fn refused(&self) -> std::sync::MutexGuard<'_, Option<Secret>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn equal(one: &Secret, other: &Secret) -> bool {
    one.matches(other.expose())
}
