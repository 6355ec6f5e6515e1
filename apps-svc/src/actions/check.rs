//! Checks an app without any instance: what an installation would install.

use hamlet_proto::hamlet::instance::v1::Tenant;

use super::{
    Shared,
    fetch::{fetch, parse_source},
    install::would_be,
};
use crate::{
    domain::{app_type::AppType, source::Source},
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
    let fetched = fetch(shared, tenant, &source, kind).await?;
    let slug = match &source {
        Source::Registry(app) => &app.slug,
        Source::Web(_) | Source::Folder(_) => fetched.manifest.own_slug.as_deref().unwrap_or(""),
    };
    would_be(fetched.installation(tenant, kind, slug).app())
}
