//! Mailing a link to an owner who has forgotten the passphrase.

use std::time::Duration;

use hamlet_pages::Content;

use super::{
    register_passphrase::end_of,
    request::{
        Answer, RequestOptions, Requests,
        change::{ChangePlan, Changes},
        secret::CarryResetToken,
    },
    write_letter::Writer,
};
use crate::{
    clock::Clock,
    config::Config,
    domain::{
        change::{Change, ChangeKind},
        instance::InstanceDocument,
        name::Name,
    },
    error::Error,
    mail::{Letter, MailKind},
    messages,
    operations::Sealing,
    store::Store,
};

/// How long the link works, as in the original.
const LIFE: Duration = Duration::from_secs(15 * 60);
/// A link that works for less is of little use to whoever reads the mail later: there is another one.
const SHORTEST: Duration = Duration::from_secs(5 * 60);

/// What is needed to mail such a link.
#[derive(Debug)]
pub(crate) struct MailResetLink<'a> {
    /// The store.
    pub(crate) store: &'a Store,
    /// The wall clock.
    pub(crate) clock: &'a Clock,
    /// How browsers reach instances.
    pub(crate) config: &'a Config,
    /// Accepts the request for a token.
    pub(crate) requests: Requests<'a>,
    /// Seals the token.
    pub(crate) sealing: &'a Sealing,
    /// Writes the mail.
    pub(crate) writer: Writer<'a>,
}

impl MailResetLink<'_> {
    /// The mail for the owner of an instance. While there is a valid link, that one is mailed again. `None` when there is no
    /// owner yet, or no address.
    ///
    /// # Errors
    /// When no token can be made, or the database fails.
    pub(crate) async fn write(&self, instance: &str) -> Result<Option<Letter>, Error> {
        let read = async || self.store.instance(instance).await;
        let Some(mut document) = read().await?.map(|it| it.body) else {
            return Ok(None);
        };
        // Without an address, no token is made that nobody gets.
        let has_address = super::write_letter::mailbox_of(self.store, &document).await?;
        if !document.onboarding_finished || has_address.is_none() {
            return Ok(None);
        }
        if self.time_left(&document) < SHORTEST {
            self.make_token(&document).await?;
            let Some(found) = read().await? else {
                return Ok(None);
            };
            document = found.body;
        }
        let link = messages::reset_link(self.config, self.clock, &document).link;
        if link.is_empty() {
            // It was used meanwhile.
            return Ok(None);
        }
        let minutes = self.time_left(&document).as_secs().div_ceil(60).to_string();
        let slots = [("{time}", minutes.as_str())];
        self.writer
            .write(&document, MailKind::Reset, Content::Link(&link), &slots)
            .await
    }

    fn time_left(&self, document: &InstanceDocument) -> Duration {
        let (token, end) = document.reset_token();
        if token.is_empty() {
            Duration::ZERO
        } else {
            end.since(self.clock.now())
        }
    }

    async fn make_token(&self, document: &InstanceDocument) -> Result<(), Error> {
        let name: Name = document
            .domain
            .parse()
            .map_err(|_| Error::NoSuchInstance(document.domain.clone()))?;
        let change = Change {
            kind: ChangeKind::ResetLink,
            ..Change::default()
        };
        let carry = CarryResetToken {
            sealing: self.sealing,
            end: self.clock.after(LIFE),
        };
        let with = Changes {
            store: self.store,
            contexts: self.writer.contexts,
            config: self.config,
        };
        let plan = ChangePlan::new(with, &name, (), change).carrying(carry);
        let options = RequestOptions {
            request_id: "",
            validate_only: false,
        };
        let id = match self.requests.ask(plan, options).await? {
            Answer::Accepted { id, .. } => id,
            Answer::Preview(_) => return Ok(()),
        };
        match end_of(self.requests.engine, id).await? {
            None => Ok(()),
            Some(failure) => Err(Error::Ended(failure)),
        }
    }
}
