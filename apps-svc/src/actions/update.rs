//! Updates an installed app to the latest version of its source.
//!
//! As in an installation, everything is fetched and checked first. The contents of the new version, its triggers and its
//! permissions are written, and last the document of the app, which makes it visible. What only earlier versions had is
//! removed afterwards. An update that was interrupted is completed by a retry, which finds what is left.
//!
//! A version that asks for more than the owner has granted is not written. The document of the app says which one waits.

use std::time::Duration;

use hamlet_proto::hamlet::instance::v1::Tenant;
use serde_json::{Map, Value, json};

use super::{
    Shared,
    belongings::{Found, repair},
    fetch::{Fetched, fetch, parse_source},
    install::{Settled, would_be},
};
use crate::{
    domain::{
        app_type::AppType,
        consent,
        document::{Draft, Installation},
        version::Version,
    },
    error::Error,
    store::{AppDocument, Store, text},
};

/// The member of an app's document that names the version that waits.
pub(crate) const AVAILABLE_VERSION: &str = "available_version";

/// A request to update an app.
#[derive(Debug)]
pub(crate) struct Update {
    /// Its slug.
    pub(crate) slug: String,
    /// What it is.
    pub(crate) kind: AppType,
    /// The source from now on; empty for the present one.
    pub(crate) source: String,
    /// The revision that the app must have; empty for any.
    pub(crate) etag: String,
    /// Checks everything without updating.
    pub(crate) validate_only: bool,
    /// What is granted of that which the new version asks for beyond the present one.
    pub(crate) consent: Consent,
    /// The version to which to update; empty for any.
    pub(crate) expected_version: String,
    /// The time limit of the update.
    pub(crate) time_limit: Duration,
}

/// What the owner, or who acts for them, grants to a new version.
#[derive(Debug)]
pub(crate) enum Consent {
    /// No more than is granted already.
    None,
    /// What they were shown: rules by their names, in JSON. No other rules.
    Shown(String),
    /// All that it asks for.
    All,
}

/// Updates an app. Returns it as it is afterwards; it is unchanged when its source has nothing newer.
///
/// # Errors
/// [`Error::NotInstalled`], [`Error::Changed`], [`Error::AsksForOthers`]; otherwise why the app cannot be fetched, checked or stored.
pub(crate) async fn update(
    shared: &Shared,
    tenant: &Tenant,
    asked: Update,
) -> Result<Settled, Error> {
    let limit = asked.time_limit;
    tokio::time::timeout(limit, run(shared, tenant, asked))
        .await
        .map_err(|_| Error::TooLate(limit.as_secs()))?
}

async fn run(shared: &Shared, tenant: &Tenant, asked: Update) -> Result<Settled, Error> {
    let store = shared.store(tenant)?;
    let app = store.require(asked.kind, &asked.slug, &asked.etag).await?;
    let source = match asked.source.as_str() {
        "" => parse_source(text(&app, "source"))?,
        given => parse_source(given)?,
    };
    let fetched = fetch(shared, tenant, &source, asked.kind).await?;
    let work = Work {
        shared: shared.clone(),
        tenant: tenant.clone(),
        store,
        fetched,
        asked,
    };
    // A caller that leaves, or the end of the time limit, does not stop it half-way.
    tokio::spawn(async move { work.run().await }).await?
}

/// The part of an update that writes.
struct Work {
    shared: Shared,
    tenant: Tenant,
    store: Store,
    fetched: Fetched,
    asked: Update,
}

impl Work {
    async fn run(&self) -> Result<Settled, Error> {
        let (shared, store, asked) = (&self.shared, &self.store, &self.asked);
        let _alone = shared.alone(store.prefix(), &asked.slug).await;
        let app = store.require(asked.kind, &asked.slug, &asked.etag).await?;
        let next = self
            .fetched
            .installation(&self.tenant, asked.kind, &asked.slug);
        let expected = asked.expected_version.as_str();
        if !expected.is_empty() && expected != next.version {
            return Err(Error::OtherVersion {
                expected: expected.to_owned(),
                found: next.version.to_owned(),
            });
        }
        let found = Found::of(shared, store, &self.tenant, asked.kind, &asked.slug).await?;
        let is_stored = found.has_code_of(&next);
        let spare = found.without(&next);
        let is_same = ["source", "version", "checksum"].map(|name| text(&app, name))
            == [next.source, next.version, next.checksum];
        if self.would_go_back(&app) {
            return Ok(Settled::unchanged(app));
        }
        let granted = self.granted().await?;
        let more = consent::beyond(
            asked.kind,
            &granted,
            self.fetched.manifest.permissions.as_ref(),
        );
        if !self.is_granted(&app, &more)? {
            return self.hold_back(app, &next, more).await;
        }
        // What waited before may have been withdrawn.
        let waits = app.body.contains_key(AVAILABLE_VERSION);
        if is_same && is_stored && spare.is_empty() && !waits {
            return Ok(Settled::unchanged(app));
        }
        let mut draft = next.app();
        if let Some(members) = draft.body.as_object_mut() {
            members.insert("created_at".to_owned(), json!(text(&app, "created_at")));
        }
        if asked.validate_only {
            return would_be(draft).map(Settled::changed);
        }
        self.fetched.keep(shared, &self.tenant, &next).await?;
        store.write_triggers(&next.triggers()).await?;
        let of_manifest = app.body.get("permissions").and_then(Value::as_object);
        let extras = consent::extras(&granted, of_manifest);
        let permission = next.permission_with(&extras);
        store
            .replace_permission(&permission, asked.kind, &asked.slug)
            .await?;
        let updated = match store.replace(&app, draft, asked.kind).await {
            Err(Error::Changed { slug }) => {
                self.give_way(&next).await?;
                return Err(Error::Changed { slug });
            }
            replaced => replaced?,
        };
        // Only who has replaced the document may remove what was there before: every other change then fails.
        if let Err(error) = spare.remove(shared, store).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                domain = self.tenant.domain,
                slug = asked.slug,
                "what the version before had stays until the next update"
            );
        }
        tracing::info!(
            domain = self.tenant.domain,
            slug = asked.slug,
            version = next.version,
            "app updated"
        );
        Ok(Settled::changed(updated))
    }

    /// The rules that the app has been granted.
    async fn granted(&self) -> Result<Map<String, Value>, Error> {
        let found = self.store.permissions(self.asked.kind, &self.asked.slug);
        let mut rules = found.await?.map(|found| found.body).unwrap_or_default();
        match rules.remove("permissions") {
            Some(Value::Object(rules)) => Ok(rules),
            _ => Ok(Map::new()),
        }
    }

    /// Whether the new version may be written: the owner has granted what it asks for, and its terms.
    fn is_granted(&self, app: &AppDocument, more: &Map<String, Value>) -> Result<bool, Error> {
        let terms = |members: &Map<String, Value>| {
            let version = members.get("terms").and_then(|terms| terms.get("version"));
            version
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let new_terms = terms(&self.fetched.manifest.members);
        let is_same = more.is_empty() && (new_terms.is_empty() || new_terms == terms(&app.body));
        match &self.asked.consent {
            Consent::None => Ok(is_same),
            Consent::All => Ok(true),
            Consent::Shown(shown) => match serde_json::from_str::<Map<String, Value>>(shown) {
                Ok(shown) if shown == *more => Ok(true),
                _ => Err(Error::AsksForOthers {
                    slug: self.asked.slug.clone(),
                }),
            },
        }
    }

    /// Notes that a version waits for the owner. What is installed stays as it is.
    async fn hold_back(
        &self,
        app: AppDocument,
        next: &Installation<'_>,
        more: Map<String, Value>,
    ) -> Result<Settled, Error> {
        let mut waiting = app.clone();
        for (name, value) in [(AVAILABLE_VERSION, next.version), ("source", next.source)] {
            waiting.body.insert(name.to_owned(), value.into());
        }
        let unchanged = waiting.body == app.body;
        let settled = |app| Settled {
            app,
            unchanged,
            asked: more,
        };
        if unchanged || self.asked.validate_only {
            return Ok(settled(waiting));
        }
        let draft = Draft {
            id: waiting.id,
            body: Value::Object(waiting.body),
        };
        let written = self.store.replace(&app, draft, self.asked.kind).await?;
        tracing::info!(
            domain = self.tenant.domain,
            slug = self.asked.slug,
            version = next.version,
            "an update waits for the owner"
        );
        Ok(settled(written))
    }

    /// Whether the same source has an older version than the one that is installed. A source that is asked for
    /// expressly may have one.
    fn would_go_back(&self, app: &AppDocument) -> bool {
        let versions = (
            Version::parse(&self.fetched.version),
            Version::parse(text(app, "version")),
        );
        match versions {
            (Some(offered), Some(installed)) => {
                self.asked.source.is_empty() && offered.is_older_than(&installed)
            }
            _ => false,
        }
    }

    /// Another replica has changed or removed the app: leaves what it left.
    async fn give_way(&self, ours: &Installation<'_>) -> Result<(), Error> {
        let (shared, store) = (&self.shared, &self.store);
        if store.app(ours.kind, ours.slug).await?.is_none() {
            store.remove_permission(ours.kind, ours.slug).await?;
            Found::made_by(shared, &self.tenant, ours)
                .remove(shared, store)
                .await?;
        }
        // It may have been installed again meanwhile.
        match store.app(ours.kind, ours.slug).await? {
            Some(app) => repair(shared, store, &self.tenant, ours, &app).await,
            None => Ok(()),
        }
    }
}
