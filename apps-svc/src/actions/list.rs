//! Listing apps, page by page.

use crate::{
    domain::kind::Kind,
    error::Error,
    store::{AppDocument, Store},
};

/// A page of apps.
#[derive(Debug)]
pub(crate) struct Page {
    /// The apps, sorted by slug.
    pub(crate) apps: Vec<AppDocument>,
    /// The slug after which the next page begins; `None` at the end.
    pub(crate) next: Option<String>,
}

/// Up to `size` apps after the slug `after`.
///
/// # Errors
/// When the database fails.
pub(crate) async fn list(
    store: &Store,
    kind: Kind,
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
