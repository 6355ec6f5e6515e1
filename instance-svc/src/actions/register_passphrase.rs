//! Setting a passphrase with the token of a link, which works once: the first one, or a new one when the owner has forgotten
//! it.

use std::time::Duration;

use service_kit::contexts::Contexts;
use tokio::time::Instant;

use super::{
    derive::Deriver,
    follow::end_of,
    request::{
        Answer, RequestOptions, Requests,
        change::{ChangePlan, Changes},
        secret::{CarryRegistration, passphrase_change},
    },
};
use crate::{
    clock::Clock,
    config::Config,
    domain::{
        claim::NameKind,
        name::Name,
        passphrase::{Chosen, Credentials, client, register::RegisterToken},
    },
    error::Error,
    operations::{
        Sealing,
        sealing::{Carried, Secret64},
    },
    store::{Found, Store},
};

/// How long to wait for other operations on the instance.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long to wait before asking again.
const PAUSE: Duration = Duration::from_millis(200);

/// What is needed to set the first passphrase.
#[derive(Debug)]
pub(crate) struct RegisterPassphrase<'a> {
    /// The store.
    pub store: &'a Store,
    /// The configured contexts.
    pub contexts: &'a Contexts,
    /// How browsers reach instances.
    pub config: &'a Config,
    /// Accepts the request for the change.
    pub requests: Requests<'a>,
    /// Hashes passphrases.
    pub deriver: &'a Deriver,
    /// Seals the result.
    pub sealing: &'a Sealing,
    /// The wall clock.
    pub clock: &'a Clock,
    /// Of which link tokens are.
    pub link: Link,
}

/// Whose token it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    /// That of the register link.
    Register,
    /// That of a link to choose a new passphrase.
    Reset,
}

/// The result of one try.
enum Tried {
    Done,
    /// Another operation has the instance.
    Busy(Error),
}

impl RegisterPassphrase<'_> {
    /// Checks a register token, and returns the salt that the client needs.
    ///
    /// # Errors
    /// [`Error::RegisterToken`], [`Error::NoSuchInstance`].
    pub(crate) async fn check(
        &self,
        instance: &str,
        token: &RegisterToken,
    ) -> Result<String, Error> {
        let found = self.open(instance, token).await?;
        Ok(salt(&found))
    }

    /// Sets the passphrase, and returns once it is set.
    ///
    /// # Errors
    /// [`Error::RegisterToken`], also for all but one of several callers that use the right token at the same
    /// time; [`Error::Busy`] when another operation has the instance for too long.
    pub(crate) async fn choose(
        &self,
        instance: &str,
        token: &RegisterToken,
        chosen: Chosen,
        hint: String,
    ) -> Result<(), Error> {
        let end = Instant::now() + PATIENCE;
        // Hashing is expensive on purpose, so it is done once, and only for callers with the right token.
        let found = self.open(instance, token).await?;
        let credentials = self.deriver.derive(chosen, salt(&found), hint).await?;
        loop {
            match self.try_once(instance, token, &credentials).await? {
                Tried::Done => return Ok(()),
                Tried::Busy(error) if Instant::now() + PAUSE >= end => return Err(error),
                Tried::Busy(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    async fn try_once(
        &self,
        instance: &str,
        token: &RegisterToken,
        credentials: &Credentials,
    ) -> Result<Tried, Error> {
        let found = self.open(instance, token).await?;
        let document = &found.document.body;
        let name: Name = document
            .domain
            .parse()
            .map_err(|_| Error::NoSuchInstance(document.domain.clone()))?;
        let credentials = credentials.clone();
        let carried = match self.link {
            Link::Register => Carried::Registration {
                credentials,
                register_token: Secret64(document.register_token.clone()),
            },
            Link::Reset => Carried::Reset {
                credentials,
                reset_token: Secret64(document.reset_token().0.to_owned()),
            },
        };
        let carry = CarryRegistration {
            carried: Some(carried),
            sealing: self.sealing,
        };
        let with = Changes {
            store: self.store,
            contexts: self.contexts,
            config: self.config,
        };
        let plan = ChangePlan::new(with, &name, (), passphrase_change("")).carrying(carry);
        let options = RequestOptions {
            request_id: "",
            validate_only: false,
        };
        let id = match self.requests.ask(plan, options).await {
            Ok(Answer::Accepted { id, .. }) => id,
            Ok(Answer::Preview(_)) => return Ok(Tried::Done),
            Err(error @ Error::Busy { .. }) => return Ok(Tried::Busy(error)),
            Err(error) => return Err(error),
        };
        match end_of(self.requests.engine, id).await? {
            None => Ok(Tried::Done),
            Some(failure) if failure.reason == "INSTANCE_BUSY" => {
                Ok(Tried::Busy(Error::Ended(failure)))
            }
            Some(failure) => Err(Error::Ended(failure)),
        }
    }

    /// The instance, if the token is valid for it.
    async fn open(&self, instance: &str, token: &RegisterToken) -> Result<Found, Error> {
        let found = self
            .store
            .found(instance, NameKind::Domain)
            .await?
            .ok_or_else(|| Error::NoSuchInstance(instance.to_owned()))?;
        let (stored, expires_at) = match self.link {
            Link::Register => {
                let record = found.record.as_ref();
                let end = record.and_then(|record| record.body.register_expires_at);
                (found.document.body.open_register_token(), end)
            }
            Link::Reset => {
                let (stored, end) = found.document.body.reset_token();
                (stored, Some(end))
            }
        };
        token
            .check(stored, expires_at, self.clock.now())
            .map_err(Error::RegisterToken)?;
        Ok(found)
    }
}

fn salt(found: &Found) -> String {
    let document = &found.document.body;
    client::salt(&document.domain, &document.old_domain)
}
