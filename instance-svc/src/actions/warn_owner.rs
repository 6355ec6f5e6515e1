//! Telling an owner that what guards the instance was changed: at the address where mail went before the change, because
//! whoever changed it may have put another one in its place.

use hamlet_pages::Content;

use super::write_letter::Writer;
use crate::{
    config::Config,
    domain::instance::InstanceDocument,
    error::Error,
    mail::{Letter, MailKind, Mailer, Occasion},
};

/// What is needed to tell.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WarnOwner<'a> {
    /// How browsers reach instances.
    pub(crate) config: &'a Config,
    /// Sends the mail.
    pub(crate) mailer: &'a Mailer,
    /// Writes it.
    pub(crate) writer: Writer<'a>,
}

impl WarnOwner<'_> {
    /// The mail, written before the change. `None` where no mail reaches the owner.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) async fn write(&self, document: &InstanceDocument) -> Result<Option<Letter>, Error> {
        if !self.mailer.sends_for(&document.context) {
            return Ok(None);
        }
        let settings = format!("{}settings", self.config.url_of(&document.domain));
        let content = Content::Link(&settings);
        let kind = MailKind::Changed;
        self.writer.write(document, kind, content, &[]).await
    }

    /// Sends it, once the change is made. The change stands, whether the mail can be sent or not.
    pub(crate) fn send(&self, document: &InstanceDocument, occasion: Occasion<'_>, letter: Letter) {
        let occasion = Occasion {
            kind: MailKind::Changed,
            ..occasion
        };
        let written = std::future::ready(Ok(Some(letter)));
        let sent = self.mailer.take(occasion).and_then(|()| {
            let mailer = self.mailer;
            mailer.send(occasion, &document.context, &document.domain, written)
        });
        if let Err(error) = sent {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                domain = document.domain,
                "the owner is not told of a change"
            );
        }
    }
}
