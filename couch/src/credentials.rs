//! As whom we call, while the password may be changing.

use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use reqwest::header::HeaderValue;
use secret::{Keyring, Secret};

use crate::error::{Error, Result};

/// A user and the passwords that may be right. The newest is used at once; where the server does not
/// know it yet, or no longer knows the one in use, the others are tried.
pub(crate) struct Credentials {
    user: String,
    password: Keyring,
    /// The password in use was refused while another was accepted, so that it is not tried first.
    refused: Mutex<Option<Secret>>,
}

impl Credentials {
    pub(crate) fn new(user: String, password: Keyring) -> Result<Self> {
        let credentials = Self {
            user,
            password,
            refused: Mutex::new(None),
        };
        // Base64 stands in any header, so this never fails later.
        credentials.header(&credentials.password.current())?;
        Ok(credentials)
    }

    /// The password to try after those that were `tried`, if one is left.
    pub(crate) fn next(&self, tried: &[Secret]) -> Option<Secret> {
        if !tried.is_empty() {
            self.password.refresh();
        }
        let mut all = self.password.all();
        if let (Some(refused), Some(first)) = (&*self.refused(), all.first())
            && equal(refused, first)
        {
            // The rest keeps its order: the newest first.
            all.rotate_left(1);
        }
        all.into_iter()
            .find(|password| !tried.iter().any(|other| equal(other, password)))
    }

    /// Remembers that `password` was accepted after those that were `tried`.
    pub(crate) fn accepted(&self, password: &Secret, tried: &[Secret]) {
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
