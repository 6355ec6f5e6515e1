//! Checking the passphrase of whoever wants to be the owner. Every place that takes a passphrase checks it here, so that
//! none can be used to guess without being counted.

use std::time::Instant;

use identity::tries::{Guesser, Tries};
use service_kit::{
    contexts::Contexts,
    secret::{Keyring, Secret},
};

use super::{
    derive::{Attempt, Deriver},
    request::{
        RequestOptions, Requests,
        change::{ChangePlan, Changes},
    },
    share_tries::SharedTries,
};
use crate::{
    clock::Clock,
    config::Config,
    domain::{
        change::{Change, ChangeKind},
        fields::Asked,
        instance::InstanceDocument,
        name::Name,
        passphrase::{client, credentials::Stored},
    },
    error::Error,
    operations::Engine,
    store::Store,
};

/// The reason with which an instance is blocked after too many wrong tries, where its context says so.
const LOGIN_FAILED: &str = "LOGIN_FAILED";

/// What is needed to check a passphrase.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogIn<'a> {
    /// The store.
    pub(crate) store: &'a Store,
    /// Hashes passphrases.
    pub(crate) deriver: &'a Deriver,
    /// How often somebody may try.
    pub(crate) tries: &'a Tries,
    /// What other replicas know of those who try.
    pub(crate) shared_tries: &'a SharedTries,
    /// The wall clock.
    pub(crate) clock: &'a Clock,
    /// The contexts of the configuration.
    pub(crate) contexts: &'a Contexts,
    /// How browsers reach instances.
    pub(crate) config: &'a Config,
    /// Blocks instances.
    pub(crate) engine: &'a Engine,
    /// With which requests are compared.
    pub(crate) key: &'a Keyring,
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
        self.shared_tries
            .begin(self.store, self.clock, self.tries, guesser)
            .await?;
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
            self.shared_tries
                .was_wrong(self.store, self.clock, self.tries, guesser)
                .await;
            let failures = self.tries.was_wrong(guesser.instance, Instant::now());
            let limit = self
                .contexts
                .get(&document.context)
                .block_after_failed_logins;
            if limit > 0 && failures == limit {
                self.block(document).await?;
            }
            return Err(Error::WrongPassphrase);
        }
        self.tries.was_right(guesser);
        Ok(())
    }

    /// Blocks the instance, as an administrator would.
    async fn block(&self, document: &InstanceDocument) -> Result<(), Error> {
        let name: Name = document
            .domain
            .parse()
            .map_err(|_| Error::NoSuchInstance(document.domain.clone()))?;
        let asked = Asked::default()
            .with("blocked", true)
            .with("blocking_reason", LOGIN_FAILED);
        let change = Change {
            kind: ChangeKind::Block,
            asked,
            ..Change::default()
        };
        let with = Changes {
            store: self.store,
            contexts: self.contexts,
            config: self.config,
        };
        let key = self.key.current();
        let requests = Requests {
            engine: self.engine,
            key: &key,
        };
        let plan = ChangePlan::new(with, &name, (), change);
        let options = RequestOptions {
            request_id: "",
            validate_only: false,
        };
        let _accepted = requests.ask(plan, options).await?;
        tracing::warn!(
            domain = document.domain,
            "an instance is blocked: too many wrong passphrases"
        );
        Ok(())
    }
}
