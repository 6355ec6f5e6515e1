//! The second factor: mailing a code, and checking what an owner shows besides the passphrase. Nobody begins a session of an
//! instance without the proof that is made here.

use hamlet_pages::Content;
use identity::second_factor::{Challenge, LIFE, Purpose, WrongCodes, is_trusted, trust};

use super::write_letter::{Writer, mailbox_of};
use crate::{
    clock::Clock,
    domain::{fields::AuthMode, instance::InstanceDocument, token::Audience},
    error::Error,
    mail::{MailKind, Mailer, Occasion},
};

/// How long codes and links work, in minutes, for texts.
pub(crate) const MINUTES: u64 = LIFE.as_secs() / 60;

/// Proof that an owner has shown all that the instance asks for.
#[derive(Debug)]
pub(crate) struct Cleared {
    /// What was shown works once: the id by which its use is noted.
    pub(super) once: Option<String>,
}

impl Cleared {
    /// That of an owner who has shown the passphrase, or a link to choose one. `None` where that is not enough.
    pub(crate) fn by_passphrase(document: &InstanceDocument) -> Option<Self> {
        (!document.auth_mode.needs_code()).then_some(Self { once: None })
    }
}

/// What is needed to ask for a second factor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SecondFactor<'a> {
    /// The wall clock.
    pub(crate) clock: &'a Clock,
    /// Sends the codes.
    pub(crate) mailer: &'a Mailer,
    /// Writes them.
    pub(crate) writer: Writer<'a>,
    /// How often somebody has guessed.
    pub(crate) wrong: &'a WrongCodes,
}

impl SecondFactor<'_> {
    /// Mails a code. Returns the token with which the code has to be sent.
    ///
    /// # Errors
    /// [`Error::NoMail`] when no mail reaches the owner; [`Error::TooManyTries`] when too many codes were sent;
    /// [`Error::MailBusy`] when too many mails wait; [`Error::SecondFactor`] when the instance asks for something else.
    pub(crate) async fn mail_code(
        &self,
        document: &InstanceDocument,
        purpose: Purpose,
        occasion: Occasion<'_>,
    ) -> Result<String, Error> {
        let key = mode_and_key(document)?;
        if !self.mailer.sends_for(&document.context) {
            return Err(Error::NoMail(document.domain.clone()));
        }
        let challenge = Challenge::draw()?;
        let code = challenge.code(&key);
        let minutes = MINUTES.to_string();
        let slots = [("{time}", minutes.as_str())];
        let content = Content::Code(&code);
        let letter = self
            .writer
            .write(document, occasion.kind, content, &slots)
            .await?
            .ok_or_else(|| Error::NoMail(document.domain.clone()))?;
        self.mailer.take(occasion)?;
        let written = std::future::ready(Ok(Some(letter)));
        self.mailer
            .send(occasion, &document.context, &document.domain, written)?;
        Ok(challenge.seal(&key, purpose, self.clock.now()))
    }

    /// Checks the code that was mailed with a token.
    ///
    /// # Errors
    /// [`Error::WrongCode`]; [`Error::DeadCode`] when no code can answer the token any more.
    pub(crate) fn answer(
        &self,
        document: &InstanceDocument,
        purpose: Purpose,
        token: &str,
        code: &str,
    ) -> Result<Cleared, Error> {
        let key = mode_and_key(document)?;
        let now = self.clock.now();
        let challenge = Challenge::open(&key, purpose, token, now).ok_or(Error::DeadCode)?;
        if !self.wrong.begin(&challenge, now) {
            return Err(Error::DeadCode);
        }
        if !challenge.is_answered_by(&key, code) {
            return Err(Error::WrongCode);
        }
        Ok(Cleared {
            once: Some(challenge.id()),
        })
    }

    /// Whether one of these tokens makes the browser one from which no code is asked for.
    pub(crate) fn trusted<'t>(
        &self,
        document: &InstanceDocument,
        user_agent: &str,
        tokens: impl IntoIterator<Item = &'t str>,
    ) -> Option<Cleared> {
        let key = mode_and_key(document).ok()?;
        let now = self.clock.now();
        tokens
            .into_iter()
            .any(|token| is_trusted(&key, &document.domain, user_agent, token, now))
            .then_some(Cleared { once: None })
    }

    /// The token that makes a browser such a one. `_cleared` proves that its owner may say so.
    ///
    /// # Errors
    /// When the instance has no key.
    pub(crate) fn trust(
        &self,
        document: &InstanceDocument,
        user_agent: &str,
        _cleared: &Cleared,
    ) -> Result<String, Error> {
        let key = mode_and_key(document)?;
        Ok(trust(&key, &document.domain, user_agent, self.clock.now()))
    }

    /// Whether a mail could reach the owner.
    pub(crate) async fn reaches(&self, document: &InstanceDocument) -> Result<bool, Error> {
        Ok(self.mailer.sends_for(&document.context)
            && mailbox_of(self.writer.store, document).await?.is_some())
    }
}

/// The key that signs codes, where the instance asks for one.
fn mode_and_key(document: &InstanceDocument) -> Result<Vec<u8>, Error> {
    if document.auth_mode != AuthMode::TwoFactorMail {
        // Another number is for other software, which knows what to ask for.
        return Err(Error::SecondFactor(document.domain.clone()));
    }
    key(document)
}

pub(super) fn key(document: &InstanceDocument) -> Result<Vec<u8>, Error> {
    document
        .token_key(Audience::App)
        .ok_or_else(|| Error::NoTokenKey(document.domain.clone()))
}

/// A link by mail with which an owner logs in.
#[derive(Debug)]
pub(crate) struct MagicLink<'a> {
    /// The wall clock.
    pub(crate) clock: &'a Clock,
    /// Writes the mail.
    pub(crate) writer: Writer<'a>,
}

/// A link that was opened.
#[derive(Debug)]
pub(crate) struct Opened(Challenge);

impl MagicLink<'_> {
    /// A new code for such a link.
    ///
    /// # Errors
    /// When the instance has no key, or the system no randomness.
    pub(crate) fn make(&self, document: &InstanceDocument) -> Result<String, Error> {
        let key = key(document)?;
        Ok(Challenge::draw()?.seal(&key, Purpose::MagicLink, self.clock.now()))
    }

    /// The mail with the link that begins with `before` and ends with `after` its code.
    ///
    /// # Errors
    /// As [`Self::make`]; when the database fails.
    pub(crate) async fn write(
        &self,
        document: &InstanceDocument,
        before: &str,
        after: &str,
    ) -> Result<Option<crate::mail::Letter>, Error> {
        let link = format!("{before}{}{after}", self.make(document)?);
        let minutes = MINUTES.to_string();
        let slots = [("{time}", minutes.as_str())];
        self.writer
            .write(document, MailKind::MagicLink, Content::Link(&link), &slots)
            .await
    }

    /// Checks the code of a link. It is not used up by that.
    ///
    /// # Errors
    /// [`Error::DeadLink`].
    pub(crate) fn open(&self, document: &InstanceDocument, code: &str) -> Result<Opened, Error> {
        let key = key(document)?;
        if !document.magic_link {
            return Err(Error::DeadLink);
        }
        Challenge::open(&key, Purpose::MagicLink, code, self.clock.now())
            .map(Opened)
            .ok_or(Error::DeadLink)
    }
}

impl Opened {
    /// The proof of an owner who has opened the link, and has shown the passphrase where the instance asks for two things.
    /// `None` where that is missing.
    pub(crate) fn cleared(
        self,
        document: &InstanceDocument,
        has_passphrase: bool,
    ) -> Option<Cleared> {
        let is_enough = match document.auth_mode {
            AuthMode::Basic | AuthMode::TwoFactorOidc => true,
            AuthMode::TwoFactorMail => has_passphrase,
            AuthMode::Unknown(_) => false,
        };
        is_enough.then(|| Cleared {
            once: Some(self.0.id()),
        })
    }
}
