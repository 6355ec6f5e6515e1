//! Changes that carry a secret: a passphrase, or a new register link.

use service_kit::secret::Secret;

use super::change::Carry;
use crate::{
    actions::derive::Deriver,
    domain::{
        change::{Change, ChangeKind, RecordPatch},
        passphrase::{Chosen, client, register},
        sealed::Sealed,
    },
    error::Error,
    operations::{
        Sealing,
        sealing::{Carried, Secret64},
    },
    store::Found,
};

/// A passphrase in plain text: it is hashed once everything else is fine.
#[derive(Debug)]
pub(crate) struct CarryPassphrase<'a> {
    /// The passphrase.
    pub passphrase: &'a Secret,
    /// Who hashes it.
    pub deriver: &'a Deriver,
    /// Who seals what comes of that.
    pub sealing: &'a Sealing,
}

impl Carry for CarryPassphrase<'_> {
    fn is_costly(&self) -> bool {
        true
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

/// What the bearer of a register token has chosen, hashed already.
#[derive(Debug)]
pub(crate) struct CarryRegistration<'a> {
    /// What is carried; taken when it is sealed.
    pub carried: Option<Carried>,
    /// Who seals it.
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

/// A new register token, which is drawn now.
#[derive(Debug)]
pub(crate) struct CarryRegisterToken<'a> {
    /// Who seals it.
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

/// The change that a passphrase is, beside its secrets.
pub(crate) fn passphrase_change(etag: &str) -> Change {
    Change {
        kind: ChangeKind::Passphrase,
        etag: etag.to_owned(),
        record: RecordPatch {
            register_expires_at: Some(String::new()),
            ..RecordPatch::default()
        },
        ..Change::default()
    }
}

/// The change that a new register link is, beside its secret; it is valid until `expires_at`, RFC 3339.
pub(crate) fn register_link_change(etag: &str, expires_at: String) -> Change {
    Change {
        kind: ChangeKind::RegisterLink,
        etag: etag.to_owned(),
        record: RecordPatch {
            register_expires_at: Some(expires_at),
            ..RecordPatch::default()
        },
        ..Change::default()
    }
}
