//! Updates an installed app to the latest version of its source.
//!
//! As in an installation, everything is fetched and checked first. The contents of the new version, its triggers and its
//! permissions are written, and last the document of the app, which makes it visible. What only earlier versions had is
//! removed afterwards. An update that was interrupted is completed by a retry, which finds what is left.

use std::{sync::Arc, time::Duration};

use hamlet_proto::hamlet::instance::v1::Tenant;
use serde_json::{Value, json};

use super::{
    Shared,
    belongings::{Found, repair},
    install::{hash, now, parse_source, would_be},
};
use crate::{
    contents::Tree,
    domain::{
        app_type::AppType,
        document::{Installation, folder_suffix},
        version::Version,
    },
    error::Error,
    sources::Package,
    store::{AppDocument, Store},
};

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
    /// The time limit of the update.
    pub(crate) time_limit: Duration,
}

/// Updates an app. Returns it as it is afterwards; it is unchanged when its source has nothing newer.
///
/// # Errors
/// [`Error::NotInstalled`], [`Error::Changed`]; otherwise why the app cannot be fetched, checked or stored.
pub(crate) async fn update(
    shared: &Shared,
    tenant: &Tenant,
    asked: Update,
) -> Result<AppDocument, Error> {
    let limit = asked.time_limit;
    tokio::time::timeout(limit, run(shared, tenant, asked))
        .await
        .map_err(|_| Error::TooLate(limit.as_secs()))?
}

async fn run(shared: &Shared, tenant: &Tenant, asked: Update) -> Result<AppDocument, Error> {
    let store = shared.store(tenant)?;
    let app = present(&store, &asked).await?;
    let source = match asked.source.as_str() {
        "" => parse_source(text(&app, "source"))?,
        given => parse_source(given)?,
    };
    let Ok(turn) = Arc::clone(&shared.at_once).acquire_owned().await else {
        return Err(Error::Stored(
            "the line of installations is closed".to_owned(),
        ));
    };
    let package = shared
        .sources
        .get(&source, asked.kind, &tenant.context)
        .await?;
    let (package, tree) = hash(package).await?;
    let work = Work {
        shared: shared.clone(),
        tenant: tenant.clone(),
        store,
        source: source.to_string(),
        asked,
    };
    // A caller that leaves, or the end of the time limit, does not stop it half-way.
    tokio::spawn(async move {
        let done = work.run(package, tree).await;
        drop(turn);
        done
    })
    .await?
}

/// The app, if it is there and as the request wants it.
async fn present(store: &Store, asked: &Update) -> Result<AppDocument, Error> {
    let slug = || asked.slug.clone();
    let Some(app) = store.app(asked.kind, &asked.slug).await? else {
        return Err(Error::NotInstalled { slug: slug() });
    };
    if !asked.etag.is_empty() && asked.etag != app.rev.as_str() {
        return Err(Error::Changed { slug: slug() });
    }
    Ok(app)
}

/// The part of an update that writes.
struct Work {
    shared: Shared,
    tenant: Tenant,
    store: Store,
    source: String,
    asked: Update,
}

impl Work {
    async fn run(&self, package: Package, tree: Tree) -> Result<AppDocument, Error> {
        let (shared, store, asked) = (&self.shared, &self.store, &self.asked);
        let _alone = shared.alone(store.prefix(), &asked.slug).await;
        let app = present(store, asked).await?;
        let version = match &package.version {
            Some(version) => version.clone(),
            None => format!("{}-{}", package.manifest.version, folder_suffix(&tree.hash)),
        };
        let now = now()?;
        let next = Installation {
            domain: &self.tenant.domain,
            prefix: &self.tenant.prefix,
            kind: asked.kind,
            slug: &asked.slug,
            source: &self.source,
            version: &version,
            checksum: &package.checksum,
            now: &now,
            manifest: &package.manifest,
        };
        let spare = Found::of(shared, store, asked.kind, &asked.slug)
            .await?
            .without(&next);
        let is_same = text(&app, "source") == self.source
            && text(&app, "version") == version
            && text(&app, "checksum") == package.checksum;
        if is_same && spare.is_empty() || self.would_go_back(&app, &version) {
            return Ok(app);
        }
        let mut draft = next.app();
        if let Some(members) = draft.body.as_object_mut() {
            members.insert("created_at".to_owned(), json!(text(&app, "created_at")));
        }
        if asked.validate_only {
            return would_be(draft);
        }
        shared
            .contents
            .keep(store.prefix(), asked.kind, &asked.slug, &next.form(), tree)
            .await?;
        store.write_triggers(&next.triggers()).await?;
        store.write_permission(&next.permission()).await?;
        let updated = match store.replace(&app, draft, asked.kind).await {
            Err(Error::Changed { slug }) => {
                self.give_way(&next).await?;
                return Err(Error::Changed { slug });
            }
            replaced => replaced?,
        };
        // Only who has replaced the document may remove what was there before: every other change then fails.
        if let Err(error) = spare.remove(shared, store, asked.kind, &asked.slug).await {
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
            version,
            "app updated"
        );
        Ok(updated)
    }

    /// Whether the same source has an older version than the one that is installed. A source that is asked for
    /// expressly may have one.
    fn would_go_back(&self, app: &AppDocument, offered: &str) -> bool {
        let versions = (
            Version::parse(offered),
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
            for trigger in ours.triggers() {
                store.remove_trigger(&trigger.id).await?;
            }
            store.remove_permission(ours.kind, ours.slug).await?;
            shared
                .contents
                .forget_form(store.prefix(), ours.kind, ours.slug, &ours.form())
                .await?;
        }
        // It may have been installed again meanwhile.
        match store.app(ours.kind, ours.slug).await? {
            Some(app) => repair(shared, store, ours, &app).await,
            None => Ok(()),
        }
    }
}

/// A text in the document of an app; empty when it has none.
fn text<'a>(app: &'a AppDocument, name: &str) -> &'a str {
    app.body
        .get(name)
        .and_then(Value::as_str)
        .unwrap_or_default()
}
