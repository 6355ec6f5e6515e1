//! Asking for changes that carry a secret: a passphrase, or a new register link.

use service_kit::secret::Secret;

use super::{
    derive::Deriver,
    request_change::{Answer, New, Prepared, RequestChange},
};
use crate::{
    clock::Clock,
    config::Config,
    domain::{
        change::{Change, ChangeKind, RecordPatch},
        instance::InstanceDocument,
        name::Name,
        passphrase::{Chosen, client, credentials::check_plain, register},
    },
    error::Error,
    operations::{
        Sealing,
        sealing::{Carried, Secret64},
    },
};

/// What both need.
#[derive(Debug)]
pub(crate) struct RequestSecret<'a> {
    /// Who asks for changes.
    pub request: RequestChange<'a>,
    /// Who hashes passphrases.
    pub deriver: &'a Deriver,
    /// Who seals what comes of that.
    pub sealing: &'a Sealing,
    /// What time it is.
    pub clock: &'a Clock,
    /// How long links are valid.
    pub config: &'a Config,
}

/// What the caller asked beside the name and the secret itself.
#[derive(Debug)]
pub(crate) struct Terms<'a> {
    /// What the instance has to be still; empty when that does not matter.
    pub etag: &'a str,
    /// The caller's id of the request.
    pub request_id: &'a str,
    /// Whether nothing is to be done.
    pub validate_only: bool,
}

impl RequestSecret<'_> {
    /// Asks for a passphrase to be set, whether there was one or not.
    ///
    /// # Errors
    /// As [`RequestChange::ask`]; a passphrase that cannot have been meant.
    pub(crate) async fn passphrase(
        &self,
        name: &Name,
        passphrase: &Secret,
        terms: Terms<'_>,
    ) -> Result<Answer, Error> {
        check_plain("passphrase", passphrase.expose())?;
        let arguments = (terms.etag, passphrase.expose());
        let prepared = self
            .request
            .prepare(
                name,
                &arguments,
                passphrase_change(terms.etag),
                terms.request_id,
                terms.validate_only,
            )
            .await?;
        let mut new = match prepared {
            Prepared::Answer(answer) => return Ok(answer),
            Prepared::New(new) => new,
        };
        let document = &new.found.document.body;
        let chosen = Chosen::Plain(passphrase.expose().to_owned());
        let salt = client::salt(&document.domain, &document.old_domain);
        let credentials = self.deriver.derive(chosen, salt, String::new()).await?;
        self.carry(&mut new, &Carried::Credentials(credentials))?;
        self.request.accept(*new).await
    }

    /// Asks for a new register link; the old one works no more.
    ///
    /// # Errors
    /// As [`RequestChange::ask`]; [`Error::NoRegisterToken`] when there is nothing left to choose.
    pub(crate) async fn register_link(
        &self,
        name: &Name,
        terms: Terms<'_>,
    ) -> Result<Answer, Error> {
        let expires_at = self.clock.after(self.config.register_link_life());
        let change = Change {
            kind: ChangeKind::RegisterLink,
            etag: terms.etag.to_owned(),
            record: RecordPatch {
                register_expires_at: Some(expires_at),
                ..RecordPatch::default()
            },
            ..Change::default()
        };
        let prepared = self
            .request
            .prepare(
                name,
                &terms.etag,
                change,
                terms.request_id,
                terms.validate_only,
            )
            .await?;
        let mut new = match prepared {
            Prepared::Answer(Answer::Valid { found, kind }) => {
                require_unfinished(&found.document.body)?;
                return Ok(Answer::Valid { found, kind });
            }
            Prepared::Answer(answer) => return Ok(answer),
            Prepared::New(new) => new,
        };
        require_unfinished(&new.found.document.body)?;
        let carried = Carried::RegisterToken(Secret64(register::draw()?));
        self.carry(&mut new, &carried)?;
        self.request.accept(*new).await
    }

    fn carry(&self, new: &mut New, carried: &Carried) -> Result<(), Error> {
        new.operation.sealed = Some(self.sealing.seal(&new.id, carried)?);
        Ok(())
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

fn require_unfinished(document: &InstanceDocument) -> Result<(), Error> {
    if document.onboarding_finished {
        return Err(Error::NoRegisterToken(document.domain.clone()));
    }
    Ok(())
}
