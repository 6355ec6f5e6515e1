//! Checking the passphrase of whoever wants to be the owner. Every place that takes a passphrase checks it here, so that
//! none can be used to guess without being counted.

use std::time::Instant;

use identity::tries::{Guesser, Tries};
use service_kit::secret::Secret;

use super::derive::{Attempt, Deriver};
use crate::{
    domain::{
        instance::InstanceDocument,
        passphrase::{client, credentials::Stored},
    },
    error::Error,
    store::Store,
};

/// What is needed to check a passphrase.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogIn<'a> {
    /// The store.
    pub(crate) store: &'a Store,
    /// Hashes passphrases.
    pub(crate) deriver: &'a Deriver,
    /// How often somebody may try.
    pub(crate) tries: &'a Tries,
}

impl LogIn<'_> {
    /// What the instance keeps beside the hash: how it was derived, and the keys of the vault.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) async fn stored(&self, document: &InstanceDocument) -> Result<Stored, Error> {
        let settings = self.store.vault_settings(document.location()).await?;
        Ok(Stored::read(
            &settings.map(|it| it.body).unwrap_or_default(),
        ))
    }

    /// Requires the passphrase: in plain text, or hashed as clients do.
    ///
    /// # Errors
    /// [`Error::WrongPassphrase`]; [`Error::TooManyTries`] and [`Error::Hashing`], unseen.
    pub(crate) async fn require(
        &self,
        document: &InstanceDocument,
        passphrase: &Secret,
        guesser: Guesser<'_>,
    ) -> Result<(), Error> {
        self.tries
            .begin(guesser, Instant::now())
            .map_err(|wait| Error::TooManyTries { wait })?;
        let stored = self.stored(document).await?;
        let attempt = Attempt {
            stored_hash: document.stored_passphrase_hash().to_owned(),
            passphrase: passphrase.clone(),
            salt: client::salt(&document.domain, &document.old_domain),
            iterations: stored.iterations,
        };
        let is_right = self
            .deriver
            .verify(attempt, guesser.device.is_some())
            .await?;
        if !is_right {
            return Err(Error::WrongPassphrase);
        }
        self.tries.was_right(guesser);
        Ok(())
    }
}
