//! Checks an app without any instance: what an installation would install.

use hamlet_proto::hamlet::instance::v1::Tenant;

use super::{
    Shared,
    install::{hash, now, parse_source, would_be},
};
use crate::{
    domain::{
        app_type::AppType,
        document::{Installation, folder_suffix},
        source::Source,
    },
    error::Error,
    store::AppDocument,
};

/// Fetches and validates an app. Nothing is stored.
///
/// # Errors
/// Why the app cannot be fetched, or is refused.
pub(crate) async fn check(
    shared: &Shared,
    tenant: &Tenant,
    source: &str,
    kind: AppType,
) -> Result<AppDocument, Error> {
    let source = parse_source(source)?;
    let Ok(_turn) = shared.at_once.acquire().await else {
        return Err(Error::Stored(
            "the line of installations is closed".to_owned(),
        ));
    };
    let package = shared.sources.get(&source, kind, &tenant.context).await?;
    let slug = match &source {
        Source::Registry(app) => app.slug.clone(),
        Source::Web(_) | Source::Folder(_) => package.manifest.own_slug.clone().unwrap_or_default(),
    };
    let (package, tree) = hash(package).await?;
    let version = match &package.version {
        Some(version) => version.clone(),
        None => format!("{}-{}", package.manifest.version, folder_suffix(&tree.hash)),
    };
    would_be(
        Installation {
            domain: &tenant.domain,
            prefix: &tenant.prefix,
            kind,
            slug: &slug,
            source: &source.to_string(),
            version: &version,
            checksum: &package.checksum,
            now: &now()?,
            manifest: &package.manifest,
        }
        .app(),
    )
}
