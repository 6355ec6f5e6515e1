//! Lists apps, page by page.

use hamlet_proto::hamlet::instance::v1::Tenant;

use super::Shared;
use crate::{
    domain::app_type::AppType,
    error::Error,
    store::{AppDocument, Store},
};

/// How many apps the page of another one may embed.
const NAMED: usize = 100;

/// A page of apps.
#[derive(Debug)]
pub(crate) struct Page {
    /// The apps, sorted by slug.
    pub(crate) apps: Vec<AppDocument>,
    /// The last slug of this page, when there are further pages.
    pub(crate) next: Option<String>,
}

/// Returns up to `size` apps whose slugs come after `after`.
pub(crate) async fn list(
    store: &Store,
    kind: AppType,
    after: Option<&str>,
    size: usize,
) -> Result<Page, Error> {
    let mut apps = store.apps(kind, after, size + 1).await?;
    let more = apps.len() > size;
    apps.truncate(size);
    let next = apps
        .last()
        .filter(|_| more)
        .and_then(|app| app.id.rsplit_once('/'))
        .map(|(_, slug)| slug.to_owned());
    Ok(Page { apps, next })
}

/// The slugs of the first hundred web apps.
pub(crate) async fn slugs(shared: &Shared, tenant: &Tenant) -> Result<Vec<String>, Error> {
    let store = shared.store(tenant)?;
    store.slugs(AppType::Webapp, NAMED).await
}
