//! Installs an app completely, or without any visible effect.
//!
//! Everything is fetched and checked first. Then the contents, the triggers and the permissions are written, and last
//! the document of the app, which makes it visible. Document ids are derived from instance and slug, so an installation
//! that was interrupted at any point is completed by a retry.

use std::time::Duration;

use hamlet_proto::hamlet::instance::v1::Tenant;
use serde_json::{Map, Value};

use super::{
    Shared,
    belongings::repair,
    fetch::{fetch, parse_source},
};
use crate::{
    domain::{app_type::AppType, document::Draft, slug, source::Source},
    error::Error,
    store::{AppDocument, Published, text},
};

/// A request to install an app.
#[derive(Debug)]
pub(crate) struct Install {
    /// A slug or an address.
    pub(crate) source: String,
    /// The slug under which to install the app; empty for the slug in the manifest.
    pub(crate) slug: String,
    /// The expected kind; other kinds are refused.
    pub(crate) kind: AppType,
    /// Checks everything without installing.
    pub(crate) validate_only: bool,
    /// The time limit of the installation.
    pub(crate) time_limit: Duration,
}

/// An app after a request, and whether it was so before.
#[derive(Debug)]
pub(crate) struct Settled {
    /// The app.
    pub(crate) app: AppDocument,
    /// Whether nothing was to change.
    pub(crate) unchanged: bool,
    /// What a version that waits for the owner asks for beyond what is granted.
    pub(crate) asked: Map<String, Value>,
}

impl Settled {
    /// An app that was changed, or would be.
    pub(super) fn changed(app: AppDocument) -> Self {
        Self {
            app,
            unchanged: false,
            asked: Map::new(),
        }
    }

    /// An app that is as it should be.
    pub(super) fn unchanged(app: AppDocument) -> Self {
        Self {
            app,
            unchanged: true,
            asked: Map::new(),
        }
    }
}

/// Installs an app. Returns the installed app when the same one is already there.
///
/// # Errors
/// [`Error::Exists`] when an app of that slug was installed from another source; otherwise why the app cannot be
/// fetched, checked or stored.
pub(crate) async fn install(
    shared: &Shared,
    tenant: &Tenant,
    asked: Install,
) -> Result<Settled, Error> {
    let limit = asked.time_limit;
    tokio::time::timeout(limit, run(shared, tenant, asked))
        .await
        .map_err(|_| Error::TooLate(limit.as_secs()))?
}

async fn run(shared: &Shared, tenant: &Tenant, asked: Install) -> Result<Settled, Error> {
    let source = parse_source(&asked.source)?;
    let store = shared.store(tenant)?;
    let known = known_slug(&asked, &source)?;
    if let Some(slug) = &known
        && let Some(found) = store.app(asked.kind, slug).await?
    {
        return settle(found, (tenant, asked.kind, slug), &source);
    }
    let fetched = fetch(shared, tenant, &source, asked.kind).await?;
    let slug = match known {
        Some(slug) => slug,
        None => fetched
            .manifest
            .own_slug
            .clone()
            .ok_or_else(|| Error::Field {
                field: "slug",
                wrong: "is empty, and the manifest names none; give a slug such as home".to_owned(),
            })?,
    };
    let _alone = shared.alone(&tenant.prefix, &slug).await;
    if let Some(found) = store.app(asked.kind, &slug).await? {
        return settle(found, (tenant, asked.kind, &slug), &source);
    }
    let installation = fetched.installation(tenant, asked.kind, &slug);
    if asked.validate_only {
        return would_be(installation.app()).map(Settled::changed);
    }
    fetched.keep(shared, tenant, &installation).await?;
    store.write_triggers(&installation.triggers()).await?;
    store.write_permission(&installation.permission()).await?;
    match store.publish(asked.kind, &installation.app()).await? {
        Published::Ours(app) => {
            let (domain, version) = (&tenant.domain, &fetched.version);
            tracing::info!(domain, slug, version, "app installed");
            Ok(Settled::changed(app))
        }
        Published::Theirs(app) => {
            // Another replica was faster. Triggers, permissions and contents must match the document that it published.
            repair(shared, &store, tenant, &installation, &app).await?;
            settle(app, (tenant, asked.kind, &slug), &source)
        }
    }
}

/// The slug, when it is known before the app is fetched.
fn known_slug(asked: &Install, source: &Source) -> Result<Option<String>, Error> {
    if !asked.slug.is_empty() {
        return match slug::wrong(&asked.slug) {
            Some(wrong) => Err(Error::Field {
                field: "slug",
                wrong,
            }),
            None => Ok(Some(asked.slug.clone())),
        };
    }
    Ok(match source {
        Source::Registry(app) => Some(app.slug.clone()),
        Source::Web(_) | Source::Folder(_) => None,
    })
}

/// Decides about an installed app of the same slug: the same source is success, another source is an error.
fn settle(
    found: AppDocument,
    (tenant, kind, slug): (&Tenant, AppType, &str),
    wanted: &Source,
) -> Result<Settled, Error> {
    let from = text(&found, "source");
    if Source::parse(from).is_ok_and(|from| from == *wanted) {
        return Ok(Settled::unchanged(found));
    }
    Err(Error::Exists {
        kind: kind.permission_type(),
        domain: tenant.domain.clone(),
        slug: slug.to_owned(),
        from: if from.is_empty() {
            "an unknown source".to_owned()
        } else {
            from.to_owned()
        },
    })
}

/// A document that is not stored.
pub(super) fn would_be(draft: Draft) -> Result<AppDocument, Error> {
    match draft.body {
        Value::Object(body) => Ok(AppDocument {
            id: draft.id,
            rev: couch::Rev::new(""),
            body,
        }),
        _ => Err(Error::Stored(draft.id)),
    }
}
