//! Changing the passphrase by an owner who knows the present one. The keys of the vault stay.

use service_kit::{contexts::Contexts, secret::Secret};

use super::{
    derive::Deriver,
    request::{
        Requests,
        change::{ChangePlan, Changes},
        secret::{CarryRegistration, passphrase_change},
    },
};
use crate::{
    config::Config,
    domain::{
        name::Name,
        passphrase::{
            Chosen,
            client::{self, Iterations, MasterKey},
            credentials::{Stored, check_plain},
            strength::check_strength,
            vault::VaultKeys,
        },
        spec::InvalidField,
    },
    error::Error,
    operations::{Sealing, sealing::Carried},
    store::{Found, Store},
};

/// What is needed to change a passphrase.
#[derive(Debug)]
pub(crate) struct ChangePassphrase<'a> {
    /// The store.
    pub store: &'a Store,
    /// The configured contexts.
    pub contexts: &'a Contexts,
    /// How browsers reach instances, and how hard a passphrase has to be to guess.
    pub config: &'a Config,
    /// Accepts the request for the change.
    pub requests: Requests<'a>,
    /// Hashes passphrases.
    pub deriver: &'a Deriver,
    /// Seals the result.
    pub sealing: &'a Sealing,
}

/// The next passphrase.
pub(crate) enum Next {
    /// In plain text.
    Plain(Secret),
    /// As a client hashed it, with the key of the vault that it encrypted anew, and a new pair of keys if it made one.
    Hashed {
        login_hash: String,
        iterations: Iterations,
        keys: VaultKeys,
    },
}

impl ChangePassphrase<'_> {
    /// Changes the passphrase of an instance, as it was when `found` was read. `present` was checked.
    ///
    /// # Errors
    /// What is wrong with the next passphrase; [`Error::EtagMismatch`] when the instance has changed since.
    pub(crate) async fn change(
        &self,
        found: &Found,
        present: &Secret,
        next: Next,
    ) -> Result<(), Error> {
        let document = &found.document.body;
        let settings = self.store.vault_settings(document.location()).await?;
        let stored = Stored::read(&settings.map(|it| it.body).unwrap_or_default());
        let salt = client::salt(&document.domain, &document.old_domain);
        let chosen = match next {
            Next::Plain(next) => self.of_plain(found, present, &next, &stored, &salt).await?,
            Next::Hashed {
                login_hash,
                iterations,
                keys,
            } => Chosen::Hashed {
                login_hash,
                iterations,
                keys: with_pair_of(keys, &stored.keys),
            },
        };
        let credentials = self.deriver.derive(chosen, salt, String::new()).await?;
        let carry = CarryRegistration {
            carried: Some(Carried::Credentials(credentials)),
            sealing: self.sealing,
        };
        let name: Name = document
            .domain
            .parse()
            .map_err(|_| Error::NoSuchInstance(document.domain.clone()))?;
        let with = Changes {
            store: self.store,
            contexts: self.contexts,
            config: self.config,
        };
        // A passphrase that was changed meanwhile is not the one that was checked.
        let etag = found.etag();
        let plan = ChangePlan::new(with, &name, (), passphrase_change(&etag)).carrying(carry);
        self.requests.carry_out(plan).await
    }

    /// Does what a client would: the key of the vault is encrypted with the next passphrase.
    async fn of_plain(
        &self,
        found: &Found,
        present: &Secret,
        next: &Secret,
        stored: &Stored,
        salt: &str,
    ) -> Result<Chosen, Error> {
        check_plain("new_passphrase", next.expose())?;
        let record = found.record.as_ref();
        let email = record.and_then(|record| record.body.email.as_deref());
        let known = [
            found.document.body.domain.as_str(),
            email.unwrap_or_default(),
        ];
        check_strength(
            "new_passphrase",
            next.expose(),
            &known,
            self.config.passphrase_score,
        )
        .map_err(Error::WeakPassphrase)?;
        let Some(iterations) = stored.iterations else {
            // The vault was never encrypted with a passphrase that was hashed.
            return Ok(Chosen::Plain(next.expose().to_owned()));
        };
        let (present, next, keys) = (present.clone(), next.clone(), stored.keys.clone());
        let salt = salt.to_owned();
        let derived = self.deriver.apart(move || {
            let before = MasterKey::derive(present.expose(), &salt, iterations);
            let after = MasterKey::derive(next.expose(), &salt, Iterations::DEFAULT);
            let login_hash = after.login_hash(next.expose());
            keys.for_next(&before, &after)
                .map(|keys| (login_hash, keys))
        });
        let (login_hash, keys) = derived.await??;
        let keys = keys.ok_or_else(|| {
            let wrong = "cannot be set in plain text: the key of the vault is in a form that only its client can \
                         encrypt anew";
            Error::Field(InvalidField {
                field: "new_passphrase".to_owned(),
                wrong: wrong.to_owned(),
            })
        })?;
        Ok(Chosen::Hashed {
            login_hash,
            iterations: Iterations::DEFAULT,
            keys,
        })
    }
}

/// A client that sends no pair of keys keeps the present one: the key of the vault, which opens it, is the same.
fn with_pair_of(keys: VaultKeys, stored: &VaultKeys) -> VaultKeys {
    if keys.public_key.is_empty() {
        VaultKeys {
            key: keys.key,
            ..stored.clone()
        }
    } else {
        keys
    }
}
