//! Writing a mail to the owner of an instance.

use couch::Document;
use hamlet_pages::{Content, Mail, Texts};
use lettre::message::Mailbox;
use serde_json::{Map, Value};
use service_kit::contexts::Contexts;

use crate::{
    domain::instance::InstanceDocument,
    error::Error,
    mail::{Letter, MailKind, mailbox},
    messages,
    store::Store,
};

/// What is needed to write mails.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Writer<'a> {
    /// Where owners are.
    pub(crate) store: &'a Store,
    /// Who runs the installation.
    pub(crate) contexts: &'a Contexts,
    /// The texts of mails.
    pub(crate) texts: &'a Texts,
}

/// The mailbox of an owner; `None` when no usable address is known.
///
/// # Errors
/// When the database fails.
pub(crate) async fn mailbox_of(
    store: &Store,
    document: &InstanceDocument,
) -> Result<Option<Mailbox>, Error> {
    let settings = store.settings(document.location()).await?;
    let text = |name: &str| text_of(settings.as_ref(), name);
    Ok(mailbox(text("public_name"), text("email")))
}

fn text_of<'a>(settings: Option<&'a Document<Map<String, Value>>>, name: &str) -> &'a str {
    let value = settings.and_then(|it| it.body.get(name));
    value.and_then(Value::as_str).unwrap_or_default()
}

impl Writer<'_> {
    /// Writes a mail in the language of the instance. `None` when its owner has no usable address. `slots` are those of the
    /// texts besides the name of the instance.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) async fn write(
        &self,
        document: &InstanceDocument,
        kind: MailKind,
        content: Content<'_>,
        slots: &[(&str, &str)],
    ) -> Result<Option<Letter>, Error> {
        let Some(to) = mailbox_of(self.store, document).await? else {
            return Ok(None);
        };
        let mut filled = vec![("{name}", document.domain.as_str())];
        filled.extend_from_slice(slots);
        let operator = messages::operator(self.contexts, &document.context);
        let mail = Mail {
            key: kind.texts(),
            language: self.texts.language_of(&document.locale),
            owner: to.name.as_deref().unwrap_or_default(),
            slots: &filled,
            content,
            operator: operator.as_ref(),
        };
        let written = mail.write(self.texts);
        Ok(Some(Letter { to, written }))
    }
}
