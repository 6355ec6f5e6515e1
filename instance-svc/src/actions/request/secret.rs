//! Changes that carry a secret: a passphrase, or a new register link.

use service_kit::secret::Secret;

use super::change::Carry;
use crate::{
    actions::derive::Deriver,
    domain::{
        change::{Change, ChangeKind, RecordPatch},
        instance::TokenKeys,
        passphrase::{Chosen, client, register, strength::check_strength},
        sealed::Sealed,
        time::{OptionalTime, Time},
    },
    error::Error,
    operations::{
        Sealing,
        sealing::{Carried, Secret64},
    },
    store::Found,
};

/// A passphrase in plain text. It is hashed after all other checks have passed.
#[derive(Debug)]
pub(crate) struct CarryPassphrase<'a> {
    /// The passphrase.
    pub passphrase: &'a Secret,
    /// How hard it has to be to guess.
    pub score: u8,
    /// Hashes passphrases.
    pub deriver: &'a Deriver,
    /// Seals the result.
    pub sealing: &'a Sealing,
}

impl Carry for CarryPassphrase<'_> {
    fn is_costly(&self) -> bool {
        true
    }

    fn require(&self, found: &Found) -> Result<(), Error> {
        let email = found
            .record
            .as_ref()
            .and_then(|record| record.body.email.as_deref());
        let known = [
            found.document.body.domain.as_str(),
            email.unwrap_or_default(),
        ];
        check_strength("passphrase", self.passphrase.expose(), &known, self.score)
            .map_err(Error::WeakPassphrase)
    }

    async fn seal(&mut self, id: &str, found: &Found) -> Result<Option<Sealed>, Error> {
        let chosen = Chosen::Plain(self.passphrase.expose().to_owned());
        let document = &found.document.body;
        let salt = client::salt(&document.domain, &document.old_domain);
        let credentials = self.deriver.derive(chosen, salt, String::new()).await?;
        let carried = Carried::Credentials(credentials);
        Ok(Some(self.sealing.seal(id, &carried)?))
    }
}

/// A passphrase that was set with a register token, hashed already.
#[derive(Debug)]
pub(crate) struct CarryRegistration<'a> {
    /// The credentials to carry; taken when they are sealed.
    pub carried: Option<Carried>,
    /// Seals the credentials.
    pub sealing: &'a Sealing,
}

impl Carry for CarryRegistration<'_> {
    async fn seal(&mut self, id: &str, _: &Found) -> Result<Option<Sealed>, Error> {
        match self.carried.take() {
            Some(carried) => Ok(Some(self.sealing.seal(id, &carried)?)),
            None => Ok(None),
        }
    }
}

/// A new register token, drawn at this moment.
#[derive(Debug)]
pub(crate) struct CarryRegisterToken<'a> {
    /// Seals the token.
    pub sealing: &'a Sealing,
}

impl Carry for CarryRegisterToken<'_> {
    fn require(&self, found: &Found) -> Result<(), Error> {
        let document = &found.document.body;
        if document.onboarding_finished {
            return Err(Error::NoRegisterToken(document.domain.clone()));
        }
        Ok(())
    }

    async fn seal(&mut self, id: &str, _: &Found) -> Result<Option<Sealed>, Error> {
        let carried = Carried::RegisterToken(Secret64(register::draw()?));
        Ok(Some(self.sealing.seal(id, &carried)?))
    }
}

/// New keys of sessions and tokens, drawn at this moment.
#[derive(Debug)]
pub(crate) struct CarryTokenKeys<'a> {
    /// Seals the keys.
    pub sealing: &'a Sealing,
}

impl Carry for CarryTokenKeys<'_> {
    async fn seal(&mut self, id: &str, _: &Found) -> Result<Option<Sealed>, Error> {
        let carried = Carried::TokenKeys(TokenKeys::draw()?);
        Ok(Some(self.sealing.seal(id, &carried)?))
    }
}

/// A token to choose a new passphrase until `end`, drawn at this moment.
#[derive(Debug)]
pub(crate) struct CarryResetToken<'a> {
    /// Seals the token.
    pub sealing: &'a Sealing,
    /// When it expires.
    pub end: Time,
}

impl Carry for CarryResetToken<'_> {
    fn require(&self, found: &Found) -> Result<(), Error> {
        let document = &found.document.body;
        if document.onboarding_finished {
            return Ok(());
        }
        Err(Error::NotOnboarded(document.domain.clone()))
    }

    async fn seal(&mut self, id: &str, _: &Found) -> Result<Option<Sealed>, Error> {
        let token = Secret64(register::draw()?);
        let carried = Carried::ResetToken {
            token,
            end: self.end,
        };
        Ok(Some(self.sealing.seal(id, &carried)?))
    }
}

/// The change that setting a passphrase makes, besides its secrets.
pub(crate) fn passphrase_change(etag: &str) -> Change {
    Change {
        kind: ChangeKind::Passphrase,
        etag: etag.to_owned(),
        record: RecordPatch {
            register_expires_at: Some(OptionalTime(None)),
            ..RecordPatch::default()
        },
        ..Change::default()
    }
}

/// The change that a new register link makes, besides its secret. The link is valid until `expires_at`.
pub(crate) fn register_link_change(etag: &str, expires_at: Time) -> Change {
    Change {
        kind: ChangeKind::RegisterLink,
        etag: etag.to_owned(),
        record: RecordPatch {
            register_expires_at: Some(OptionalTime(Some(expires_at))),
            ..RecordPatch::default()
        },
        ..Change::default()
    }
}
