//! Secrets that an operation carries in its document, encrypted, until it has written them to their
//! destination.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use service_kit::secret::{Keyring, Secret};

use crate::{
    domain::{
        instance::{InstanceDocument, TokenKeys},
        passphrase::{Credentials, register::Refused},
        sealed::{self, Sealed},
        seed::Seed,
        time::Time,
    },
    error::Error,
};

/// The secret values that an operation carries.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Carried {
    /// The credentials derived from a new passphrase.
    Credentials(Credentials),
    /// The credentials derived from a first passphrase, set with a register token.
    Registration {
        /// The credentials.
        credentials: Credentials,
        /// The register token that was used, as the instance document holds it.
        register_token: Secret64,
    },
    /// A new register token.
    RegisterToken(Secret64),
    /// New keys of sessions and tokens.
    TokenKeys(TokenKeys),
    /// A token to choose a new passphrase, until a time.
    ResetToken {
        /// The token.
        token: Secret64,
        /// When it expires.
        end: Time,
    },
    /// The credentials derived from a new passphrase, set with such a token.
    Reset {
        /// The credentials.
        credentials: Credentials,
        /// The token that was used, as the instance document holds it.
        reset_token: Secret64,
    },
}

/// A secret as documents hold it: base64. `Debug` does not show it.
#[derive(Clone, Deserialize, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(crate) struct Secret64(pub(crate) String);

impl std::fmt::Debug for Secret64 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret64(…)")
    }
}

impl Carried {
    /// The credentials, if it carries any.
    pub(crate) const fn credentials(&self) -> Option<&Credentials> {
        match self {
            Self::Credentials(credentials)
            | Self::Registration { credentials, .. }
            | Self::Reset { credentials, .. } => Some(credentials),
            Self::RegisterToken(_) | Self::TokenKeys(_) | Self::ResetToken { .. } => None,
        }
    }

    /// Checks that the instance can accept what is carried.
    ///
    /// # Errors
    /// When the register token that was used is no longer that of the instance (several callers may use it at
    /// the same time; one of them wins), or when the instance already has a passphrase.
    pub(crate) fn may_go_on(&self, document: &InstanceDocument) -> Result<(), Error> {
        match self {
            Self::Credentials(_) | Self::TokenKeys(_) => Ok(()),
            Self::ResetToken { .. } if document.onboarding_finished => Ok(()),
            Self::ResetToken { .. } => Err(Error::NotOnboarded(document.domain.clone())),
            Self::Reset { reset_token, .. } => match document.reset_token().0 {
                "" => Err(Error::RegisterToken(Refused::Used)),
                token if token == reset_token.0 => Ok(()),
                _ => Err(Error::RegisterToken(Refused::Wrong)),
            },
            Self::Registration { register_token, .. } => match document.open_register_token() {
                "" => Err(Error::RegisterToken(Refused::Used)),
                token if token == register_token.0 => Ok(()),
                _ => Err(Error::RegisterToken(Refused::Wrong)),
            },
            Self::RegisterToken(_) if document.onboarding_finished => {
                Err(Error::NoRegisterToken(document.domain.clone()))
            }
            Self::RegisterToken(_) => Ok(()),
        }
    }

    /// Writes it into the instance document. Returns whether the document has changed.
    pub(crate) fn apply(&self, document: &mut InstanceDocument) -> bool {
        let before = document.clone();
        match self {
            Self::Credentials(credentials)
            | Self::Registration { credentials, .. }
            | Self::Reset { credentials, .. } => document.take_credentials(credentials),
            Self::ResetToken { token, end } => document.set_reset_token(&token.0, *end),
            Self::RegisterToken(token) => document.register_token.clone_from(&token.0),
            Self::TokenKeys(keys) => document.take_token_keys(keys),
        }
        *document != before
    }
}

/// Encrypts and decrypts what operations carry, under the cluster key.
#[derive(Clone, Debug)]
pub struct Sealing {
    keys: Keyring,
}

impl Sealing {
    /// Encrypts under the key in use, and decrypts under any accepted key.
    #[must_use]
    pub const fn new(keys: Keyring) -> Self {
        Self { keys }
    }

    /// Encrypts for the operation `id`.
    pub(crate) fn seal(&self, id: &str, carried: &Carried) -> Result<Sealed, Error> {
        self.seal_json(id, carried)
    }

    /// Encrypts the seed of the creation of an instance.
    pub(crate) fn seal_seed(&self, instance: &str, seed: &Seed) -> Result<Sealed, Error> {
        self.seal_json(instance, seed)
    }

    fn seal_json(&self, context: &str, plain: &impl Serialize) -> Result<Sealed, Error> {
        let plain = serde_json::to_vec(plain)?;
        let key = self.keys.current();
        Ok(sealed::seal(bytes(&key), context, &plain)?)
    }

    /// Decrypts what the operation `id` carries, if it carries anything.
    pub(crate) fn open(&self, id: &str, sealed: Option<&Sealed>) -> Result<Option<Carried>, Error> {
        self.open_json(id, sealed)
    }

    /// Decrypts the seed of the creation of an instance, if there is one.
    pub(crate) fn open_seed(
        &self,
        instance: &str,
        sealed: Option<&Sealed>,
    ) -> Result<Option<Seed>, Error> {
        self.open_json(instance, sealed)
    }

    fn open_json<T: DeserializeOwned>(
        &self,
        context: &str,
        sealed: Option<&Sealed>,
    ) -> Result<Option<T>, Error> {
        let Some(sealed) = sealed else {
            return Ok(None);
        };
        let keys = self.keys.all();
        let plain =
            sealed::open(keys.iter().map(bytes), context, sealed).or_else(|unreadable| {
                // Another replica may have read a new key before this one.
                if self.keys.refresh() {
                    sealed::open(self.keys.all().iter().map(bytes), context, sealed)
                } else {
                    Err(unreadable)
                }
            })?;
        Ok(Some(serde_json::from_slice(&plain)?))
    }
}

fn bytes(key: &Secret) -> &[u8] {
    key.expose().as_bytes()
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use service_kit::secret::{Keyring, Secret};

    use super::{Carried, Sealing, Secret64};

    #[test]
    fn sealed_secrets_open_only_for_their_operation_and_are_not_shown() {
        let carried = Carried::RegisterToken(Secret64("the token".to_owned()));
        assert!(!format!("{carried:?}").contains("the token"));
        let sealing = Sealing::new(Keyring::fixed(Secret::new("the cluster key")));
        let sealed = sealing.seal("one", &carried).unwrap();
        let opened = sealing.open("one", Some(&sealed)).unwrap().unwrap();
        assert!(matches!(opened, Carried::RegisterToken(token) if token.0 == "the token"));
        assert!(sealing.open("two", Some(&sealed)).is_err());
        assert!(sealing.open("one", None).unwrap().is_none());
        let other = Sealing::new(Keyring::fixed(Secret::new("another cluster key")));
        assert!(other.open("one", Some(&sealed)).is_err());
    }
}
