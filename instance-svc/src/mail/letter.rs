//! A mail to an owner, and the message that a server gets.

use lettre::{
    Address, Message,
    message::{
        Mailbox, MultiPart,
        header::{HeaderName, HeaderValue},
    },
};

use super::MailError;

/// A mail to an owner.
pub(crate) struct Letter {
    /// To whom it goes.
    pub(crate) to: Mailbox,
    /// What it says.
    pub(crate) written: hamlet_pages::Written,
}

/// Whose mail it is.
#[derive(Clone, Debug)]
pub(super) struct Sender {
    pub(super) from: Mailbox,
    pub(super) reply_to: Option<Mailbox>,
}

impl Sender {
    /// The domain of the address.
    pub(super) fn domain(&self) -> &str {
        self.from.email.domain()
    }

    /// The message of a letter: plain text first, then the same as HTML.
    pub(super) fn message(&self, letter: &Letter) -> Result<Message, MailError> {
        let id = format!("<{}@{}>", uuid::Uuid::new_v4().simple(), self.domain());
        let mut builder = Message::builder()
            .from(self.from.clone())
            .to(letter.to.clone())
            .subject(letter.written.subject.clone())
            .message_id(Some(id))
            .date_now()
            // Nobody's holiday notice is to answer it (RFC 3834).
            .raw_header(HeaderValue::new(
                HeaderName::new_from_ascii_str("Auto-Submitted"),
                "auto-generated".to_owned(),
            ));
        if let Some(reply_to) = &self.reply_to {
            builder = builder.reply_to(reply_to.clone());
        }
        builder
            .multipart(MultiPart::alternative_plain_html(
                letter.written.plain.clone(),
                letter.written.html.clone(),
            ))
            .map_err(MailError::Message)
    }
}

/// The mailbox of an owner; `None` when the address is none.
pub(crate) fn mailbox(name: &str, address: &str) -> Option<Mailbox> {
    let address: Address = address.trim().parse().ok()?;
    let name = (!name.is_empty()).then(|| name.to_owned());
    Some(Mailbox::new(name, address))
}
