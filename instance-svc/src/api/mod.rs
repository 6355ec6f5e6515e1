//! The handlers of the contracts: they convert messages and call the actions. Nothing is decided here.

mod change;
pub(crate) mod directory;
pub(crate) mod features;
pub(crate) mod identity;
pub(crate) mod instances;
pub(crate) mod json;
mod oauth;
pub(crate) mod operations;
pub(crate) mod owner;
mod page_token;
pub(crate) mod pages;
mod passphrase;
#[cfg(test)]
mod stored_form;
pub(crate) mod strangers;
mod tokens;

use std::sync::Arc;

use ::identity::{allowance::Allowance, second_factor::WrongCodes, tries::Tries};
use hamlet_pages::Texts;
use service_kit::{contexts::Contexts, secret::Keyring};
use tokio_util::sync::CancellationToken;

use crate::{
    actions::{
        adopt, authenticate::Authentication, derive::Deriver, log_in::LogIn, oauth::OAuth,
        second_factor::SecondFactor, share_tries::SharedTries, write_letter::Writer,
    },
    clock::Clock,
    config::Config,
    domain::instance::InstanceDocument,
    host_changes::HostChanges,
    mail::Mailer,
    operations::{Engine, Peers, Sealing, backend::Backends, orphans::Orphans, relay},
    store::Store,
};

/// What all handlers need.
#[derive(Clone, Debug)]
pub(crate) struct Shared(Arc<Parts>);

#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) store: Store,
    pub(crate) engine: Engine,
    pub(crate) config: Config,
    pub(crate) contexts: Contexts,
    pub(crate) key: Keyring,
    pub(crate) sealing: Sealing,
    pub(crate) deriver: Deriver,
    pub(crate) clock: Clock,
    pub(crate) peers: Peers,
    pub(crate) orphans: Orphans,
    pub(crate) adopted: adopt::Progress,
    pub(crate) host_changes: HostChanges,
    /// The texts of pages.
    pub(crate) texts: Texts,
    /// How often somebody has tried a passphrase.
    pub(crate) tries: Tries,
    /// What other replicas know of that.
    pub(crate) shared_tries: SharedTries,
    /// How often somebody has guessed a code that was mailed.
    pub(crate) wrong_codes: WrongCodes,
    pub(crate) mailer: Mailer,
    /// How many OAuth clients strangers have registered.
    pub(crate) registrations: Allowance,
    pub(crate) backends: Backends,
    pub(crate) relayed: relay::Requests,
    /// Streams without an end of their own end with it.
    pub(crate) shutdown: CancellationToken,
}

impl Shared {
    pub(crate) fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    /// Finds out who calls.
    pub(crate) fn authentication(&self) -> Authentication<'_> {
        Authentication {
            store: &self.store,
            clock: &self.clock,
            contexts: &self.contexts,
        }
    }

    /// Writes mails to owners.
    pub(crate) fn writer(&self) -> Writer<'_> {
        Writer {
            store: &self.store,
            contexts: &self.contexts,
            texts: &self.texts,
        }
    }

    /// Asks for codes.
    pub(crate) fn second_factor(&self) -> SecondFactor<'_> {
        SecondFactor {
            clock: &self.clock,
            mailer: &self.mailer,
            writer: self.writer(),
            wrong: &self.wrong_codes,
        }
    }

    /// Serves the OAuth clients of an instance.
    pub(crate) fn oauth<'a>(&'a self, id: &'a str, instance: &'a InstanceDocument) -> OAuth<'a> {
        OAuth {
            store: &self.store,
            clock: &self.clock,
            id,
            instance,
        }
    }

    /// Checks passphrases.
    pub(crate) fn log_in(&self) -> LogIn<'_> {
        LogIn {
            store: &self.store,
            deriver: &self.deriver,
            tries: &self.tries,
            shared_tries: &self.shared_tries,
            clock: &self.clock,
            contexts: &self.contexts,
            config: &self.config,
            engine: &self.engine,
            key: &self.key,
        }
    }
}

impl std::ops::Deref for Shared {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}
