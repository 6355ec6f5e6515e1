//! Fetches an app and checks it. Installing, updating and checking begin with this; nothing is stored.

use std::sync::Arc;

use hamlet_proto::hamlet::instance::v1::Tenant;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tokio::sync::OwnedSemaphorePermit;

use super::Shared;
use crate::{
    archive::Files,
    contents::Tree,
    domain::{
        app_type::AppType,
        document::{Installation, folder_suffix},
        manifest::Manifest,
        source::{Source, Wrong},
    },
    error::Error,
};

/// An app that was fetched, which may be large. While it is kept, one fewer can be fetched.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) manifest: Manifest,
    pub(super) version: String,
    pub(super) tree: Tree,
    pub(super) files: Files,
    source: String,
    checksum: String,
    now: String,
    _turn: OwnedSemaphorePermit,
}

/// Fetches the app of a source.
///
/// # Errors
/// Why it cannot be fetched, or is refused.
pub(super) async fn fetch(
    shared: &Shared,
    tenant: &Tenant,
    source: &Source,
    kind: AppType,
) -> Result<Fetched, Error> {
    let Ok(turn) = Arc::clone(&shared.at_once).acquire_owned().await else {
        return Err(Error::Stored(
            "the line of installations is closed".to_owned(),
        ));
    };
    let package = shared.sources.get(source, kind, &tenant.context).await?;
    let files = package.files;
    // The bytes are shared, not copied.
    let hashed = files.clone();
    let tree = tokio::task::spawn_blocking(move || Tree::of(&hashed)).await??;
    let version = match package.version {
        Some(version) => version,
        None => format!("{}-{}", package.manifest.version, folder_suffix(&tree.hash)),
    };
    let now = OffsetDateTime::now_utc()
        .format(&Rfc3339)
        .map_err(|error| Error::Stored(error.to_string()))?;
    Ok(Fetched {
        manifest: package.manifest,
        version,
        tree,
        files,
        source: source.to_string(),
        checksum: package.checksum,
        now,
        _turn: turn,
    })
}

impl Fetched {
    /// Stores its files for an instance: in the content store, and on the file store of the context if there is one.
    /// Idempotent.
    pub(super) async fn keep(
        &self,
        shared: &Shared,
        tenant: &Tenant,
        installation: &Installation<'_>,
    ) -> Result<(), Error> {
        let (kind, slug) = (installation.kind, installation.slug);
        shared
            .contents
            .keep(&tenant.prefix, kind, slug, &installation.form(), &self.tree)
            .await?;
        match shared.code.place(tenant, kind, slug) {
            Some(place) => place.write(installation.folder(), self.files.clone()).await,
            None => Ok(()),
        }
    }

    /// Its installation in an instance.
    pub(super) fn installation<'a>(
        &'a self,
        tenant: &'a Tenant,
        kind: AppType,
        slug: &'a str,
    ) -> Installation<'a> {
        Installation {
            domain: &tenant.domain,
            prefix: &tenant.prefix,
            kind,
            slug,
            source: &self.source,
            version: &self.version,
            checksum: &self.checksum,
            now: &self.now,
            manifest: &self.manifest,
        }
    }
}

/// The source of a request.
pub(super) fn parse_source(text: &str) -> Result<Source, Error> {
    Source::parse(text).map_err(|wrong| match wrong {
        Wrong::Invalid(wrong) => Error::Field {
            field: "source",
            wrong,
        },
        Wrong::NotBuilt(why) => Error::NotBuilt(why),
    })
}
