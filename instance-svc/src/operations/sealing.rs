//! Secrets that an operation carries in its document, until it has written them where they belong.

use serde::{Deserialize, Serialize};
use service_kit::secret::{Keyring, Secret};

use crate::{
    domain::{
        passphrase::Credentials,
        sealed::{self, Sealed},
    },
    error::Error,
};

/// What an operation carries sealed.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Carried {
    /// What a passphrase becomes.
    Credentials(Credentials),
}

/// Seals and opens what operations carry, under the cluster key.
#[derive(Clone, Debug)]
pub struct Sealing {
    keys: Keyring,
}

impl Sealing {
    /// Seals under the key in use, and opens with any that is accepted.
    #[must_use]
    pub const fn new(keys: Keyring) -> Self {
        Self { keys }
    }

    /// Seals for the operation `id`.
    pub(crate) fn seal(&self, id: &str, carried: &Carried) -> Result<Sealed, Error> {
        let plain = serde_json::to_vec(carried)?;
        Ok(sealed::seal(
            self.keys.current().expose().as_bytes(),
            id,
            &plain,
        )?)
    }

    /// Opens what the operation `id` carries.
    pub(crate) fn open(&self, id: &str, sealed: &Sealed) -> Result<Carried, Error> {
        let keys = self.keys.all();
        let plain = sealed::open(keys.iter().map(bytes), id, sealed).or_else(|unreadable| {
            // Another replica may have read a new key earlier.
            if self.keys.refresh() {
                sealed::open(self.keys.all().iter().map(bytes), id, sealed)
            } else {
                Err(unreadable)
            }
        })?;
        Ok(serde_json::from_slice(&plain)?)
    }
}

fn bytes(key: &Secret) -> &[u8] {
    key.expose().as_bytes()
}
