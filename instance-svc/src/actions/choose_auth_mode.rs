//! Choosing how an owner logs in. The second factor is turned on with a code that was mailed to the owner, so that nobody
//! locks themselves out with an address that gets no mail.

use hamlet_pages::Content;
use identity::second_factor::{confirmation, is_confirmation};

use super::{
    request::{
        Requests,
        change::{ChangePlan, Changes},
    },
    second_factor::{MINUTES, key},
    warn_owner::WarnOwner,
    write_letter::{Writer, mailbox_of},
};
use crate::{
    clock::Clock,
    config::Config,
    domain::{
        change::Change,
        fields::{Asked, AuthMode},
        instance::InstanceDocument,
        name::Name,
    },
    error::Error,
    mail::{MailKind, Mailer, Occasion},
};

/// What is needed to choose.
#[derive(Debug)]
pub(crate) struct ChooseAuthMode<'a> {
    /// The wall clock.
    pub(crate) clock: &'a Clock,
    /// How browsers reach instances.
    pub(crate) config: &'a Config,
    /// Accepts the request for the change.
    pub(crate) requests: Requests<'a>,
    /// Sends the code.
    pub(crate) mailer: &'a Mailer,
    /// Writes it.
    pub(crate) writer: Writer<'a>,
}

impl ChooseAuthMode<'_> {
    /// Mails the code that turns the second factor on.
    ///
    /// # Errors
    /// [`Error::NoMail`]; [`Error::TooManyTries`] when too many were sent; [`Error::MailBusy`]; the database fails.
    pub(crate) async fn mail_confirmation(
        &self,
        document: &InstanceDocument,
        occasion: Occasion<'_>,
    ) -> Result<(), Error> {
        let to = self.address(document).await?;
        let code = confirmation(&key(document)?, &to, self.clock.now());
        let minutes = MINUTES.to_string();
        let slots = [("{time}", minutes.as_str())];
        let letter = self
            .writer
            .write(
                document,
                MailKind::Confirmation,
                Content::Code(&code),
                &slots,
            )
            .await?;
        self.mailer.take(occasion)?;
        let written = std::future::ready(Ok(letter));
        self.mailer
            .send(occasion, &document.context, &document.domain, written)
    }

    /// Turns the second factor on.
    ///
    /// # Errors
    /// [`Error::WrongCode`]; [`Error::NoMail`]; the instance is busy, or the database fails.
    pub(crate) async fn turn_on(
        &self,
        document: &InstanceDocument,
        code: &str,
    ) -> Result<(), Error> {
        let to = self.address(document).await?;
        if !is_confirmation(&key(document)?, &to, code, self.clock.now()) {
            return Err(Error::WrongCode);
        }
        self.change(document, AuthMode::TwoFactorMail).await
    }

    /// Turns it off: the passphrase alone opens the instance. The owner is told.
    ///
    /// # Errors
    /// When the instance is busy, or the database fails.
    pub(crate) async fn turn_off(
        &self,
        document: &InstanceDocument,
        occasion: Occasion<'_>,
    ) -> Result<(), Error> {
        let warn = WarnOwner {
            config: self.config,
            mailer: self.mailer,
            writer: self.writer,
        };
        let letter = if document.auth_mode.needs_code() {
            warn.write(document).await?
        } else {
            None
        };
        self.change(document, AuthMode::Basic).await?;
        if let Some(letter) = letter {
            warn.send(document, occasion, letter);
        }
        Ok(())
    }

    async fn address(&self, document: &InstanceDocument) -> Result<String, Error> {
        let to = if self.mailer.sends_for(&document.context) {
            mailbox_of(self.writer.store, document).await?
        } else {
            None
        };
        let to = to.ok_or_else(|| Error::NoMail(document.domain.clone()))?;
        Ok(to.email.to_string())
    }

    async fn change(&self, document: &InstanceDocument, mode: AuthMode) -> Result<(), Error> {
        if document.auth_mode == mode {
            return Ok(());
        }
        let name: Name = document
            .domain
            .parse()
            .map_err(|_| Error::NoSuchInstance(document.domain.clone()))?;
        let change = Change {
            asked: Asked::default().with("auth_mode", i64::from(mode)),
            ..Change::default()
        };
        let with = Changes {
            store: self.writer.store,
            contexts: self.writer.contexts,
            config: self.config,
        };
        let plan = ChangePlan::new(with, &name, (), change);
        self.requests.carry_out(plan).await
    }
}
