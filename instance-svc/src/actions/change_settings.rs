//! Changing what an owner may set, by a program of theirs.

use serde_json::{Map, Value};
use service_kit::contexts::Contexts;

use super::request::{
    Requests,
    change::{ChangePlan, Changes},
};
use crate::{
    config::Config,
    domain::{
        change::{Change, ChangeKind},
        name::Name,
        owner_settings::wanted,
    },
    error::Error,
    store::{Found, Store},
};

/// What is needed to change settings.
#[derive(Debug)]
pub(crate) struct ChangeSettings<'a> {
    /// The store.
    pub store: &'a Store,
    /// The configured contexts.
    pub contexts: &'a Contexts,
    /// How browsers reach instances.
    pub config: &'a Config,
    /// Accepts the request for the change.
    pub requests: Requests<'a>,
}

impl ChangeSettings<'_> {
    /// Changes the attributes that differ from the `present` ones of an instance, as it was when `found` was read. `rev` is the
    /// revision of the settings that the caller knows; empty for any. Where nothing differs, nothing is written, whatever the
    /// revision.
    ///
    /// # Errors
    /// What the owner cannot change; [`Error::EtagMismatch`] when the settings have changed since.
    pub(crate) async fn change(
        &self,
        found: &Found,
        present: &Map<String, Value>,
        given: &Map<String, Value>,
        rev: &str,
    ) -> Result<(), Error> {
        let asked = wanted(present, given)?;
        if asked.values().is_empty() {
            return Ok(());
        }
        let domain = &found.document.body.domain;
        let settings = found.settings.as_ref();
        let known = settings.map_or("", |settings| settings.rev.as_str());
        if !rev.is_empty() && rev != known {
            return Err(Error::EtagMismatch(domain.clone()));
        }
        let name: Name = domain
            .parse()
            .map_err(|_| Error::NoSuchInstance(domain.clone()))?;
        let with = Changes {
            store: self.store,
            contexts: self.contexts,
            config: self.config,
        };
        let change = Change {
            kind: ChangeKind::Update,
            etag: found.etag(),
            asked,
            ..Change::default()
        };
        let plan = ChangePlan::new(with, &name, (), change);
        self.requests.carry_out(plan).await
    }
}
