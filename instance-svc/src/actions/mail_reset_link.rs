//! Mailing a link to an owner who has forgotten the passphrase.

use std::time::Duration;

use hamlet_pages::Content;

use super::{
    request::{
        Requests,
        change::{ChangePlan, Changes},
        secret::CarryResetToken,
    },
    write_letter::{Writer, mailbox_of},
};
use crate::{
    clock::Clock,
    config::Config,
    domain::{
        change::{Change, ChangeKind},
        claim::NameKind,
        instance::InstanceDocument,
        name::Name,
    },
    error::Error,
    mail::{Letter, MailKind},
    messages,
    operations::Sealing,
    store::{Found, Store},
};

/// How long the link works, as in the original.
const LIFE: Duration = Duration::from_secs(15 * 60);
/// A link that works for less is of little use to whoever reads the mail later: there is another one.
const SHORTEST: Duration = Duration::from_secs(5 * 60);

/// How long to wait for others who change the instance.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long to wait before looking again.
const PAUSE: Duration = Duration::from_millis(250);

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
        let mut patience = PATIENCE;
        let document = loop {
            let found = self.store.found(instance, NameKind::Domain).await?;
            let Some(found) = found.filter(|it| it.document.body.onboarding_finished) else {
                return Ok(None);
            };
            let document = &found.document.body;
            // Without an address, no token is made that nobody gets.
            if mailbox_of(self.store, document).await?.is_none() {
                return Ok(None);
            }
            if self.time_left(document) >= SHORTEST {
                break found.document.body;
            }
            match self.make_token(&found).await {
                // It is read again: the token is drawn while it is written.
                Ok(()) => {}
                // Somebody else is at work, and may be making a token.
                Err(error) if is_passing(&error) && patience > Duration::ZERO => {
                    tokio::time::sleep(PAUSE).await;
                    patience = patience.saturating_sub(PAUSE);
                }
                Err(error) => return Err(error),
            }
        };
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

    async fn make_token(&self, found: &Found) -> Result<(), Error> {
        let document = &found.document.body;
        let name: Name = document
            .domain
            .parse()
            .map_err(|_| Error::NoSuchInstance(document.domain.clone()))?;
        let change = Change {
            kind: ChangeKind::ResetLink,
            // Of several who ask at the same time, one makes a token: another would end that of the first.
            etag: found.etag(),
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
        self.requests.carry_out(plan).await
    }
}

/// Whether an error passes by itself: another change had the instance.
fn is_passing(error: &Error) -> bool {
    match error {
        Error::Busy { .. } | Error::EtagMismatch(_) => true,
        Error::Ended(failure) => {
            matches!(failure.reason.as_str(), "INSTANCE_BUSY" | "ETAG_MISMATCH")
        }
        _ => false,
    }
}
