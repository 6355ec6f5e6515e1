//! Updates an installed app to the latest version of its source.
//!
//! As in an installation, everything is fetched and checked first. The contents of the new version, its triggers and its
//! permissions are written, and last the document of the app, which makes it visible. What only the old version had is
//! removed afterwards. An update that was interrupted is completed by a retry.

use std::time::Duration;

use hamlet_proto::hamlet::instance::v1::Tenant;
use serde_json::{Value, json};

use super::{
    Shared,
    install::{hash, now, parse_source, would_be},
};
use crate::{
    domain::{
        app_type::AppType,
        document::{Installation, folder_suffix},
        manifest::Manifest,
    },
    error::Error,
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

/// Updates an app. Returns it as it is afterwards; it is unchanged when its source has nothing else.
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
    let Some(app) = store.app(asked.kind, &asked.slug).await? else {
        return Err(Error::NotInstalled { slug: asked.slug });
    };
    if !asked.etag.is_empty() && asked.etag != app.rev.as_str() {
        return Err(Error::Changed { slug: asked.slug });
    }
    let text = |name: &str| {
        app.body
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let source = match asked.source.as_str() {
        "" => parse_source(text("source"))?,
        given => parse_source(given)?,
    };
    let Ok(_turn) = shared.at_once.acquire().await else {
        return Err(Error::Stored(
            "the line of installations is closed".to_owned(),
        ));
    };
    let package = shared
        .sources
        .get(&source, asked.kind, &tenant.context)
        .await?;
    let (package, tree) = hash(package).await?;
    let version = match &package.version {
        Some(version) => version.clone(),
        None => format!("{}-{}", package.manifest.version, folder_suffix(&tree.hash)),
    };
    let source = source.to_string();
    let now = now()?;
    let next = Installation {
        domain: &tenant.domain,
        prefix: &tenant.prefix,
        kind: asked.kind,
        slug: &asked.slug,
        source: &source,
        version: &version,
        checksum: &package.checksum,
        now: &now,
        manifest: &package.manifest,
    };
    let is_same = text("source") == source
        && text("version") == version
        && text("checksum") == package.checksum;
    if is_same {
        return Ok(app);
    }
    let mut draft = next.app();
    if let Some(members) = draft.body.as_object_mut() {
        members.insert("created_at".to_owned(), json!(text("created_at")));
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
    let updated = store.replace(&app, draft, asked.kind).await?;
    forget_old(shared, &store, &next, &app).await?;
    tracing::info!(
        domain = tenant.domain,
        slug = asked.slug,
        version,
        "app updated"
    );
    Ok(updated)
}

/// Removes the contents and the triggers that only the old version had.
async fn forget_old(
    shared: &Shared,
    store: &Store,
    next: &Installation<'_>,
    old: &AppDocument,
) -> Result<(), Error> {
    let text = |name: &str| {
        old.body
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let manifest = Manifest::from_json(next.kind, Value::Object(old.body.clone()));
    // The app of another software may have a manifest that Hamlet would refuse. Its contents are not Hamlet's then.
    let Ok(manifest) = manifest else {
        return Ok(());
    };
    let old = Installation {
        source: text("source"),
        version: text("version"),
        checksum: text("checksum"),
        now: text("created_at"),
        manifest: &manifest,
        ..*next
    };
    let kept = next.triggers();
    for spare in old.triggers() {
        if kept.iter().all(|trigger| trigger.id != spare.id) {
            store.remove_trigger(&spare.id).await?;
        }
    }
    if old.form() != next.form() {
        shared
            .contents
            .forget_form(store.prefix(), next.kind, next.slug, &old.form())
            .await?;
    }
    Ok(())
}
