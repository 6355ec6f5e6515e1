//! Uninstalls an app.

use super::{Shared, belongings::Found};
use crate::{
    domain::app_type::AppType,
    error::Error,
    store::{AppDocument, Store},
};

/// A request to uninstall an app.
#[derive(Debug)]
pub(crate) struct Uninstall {
    /// The app's slug.
    pub(crate) slug: String,
    /// What it is.
    pub(crate) kind: AppType,
    /// The revision that the app must have; empty for any.
    pub(crate) etag: String,
    /// Checks everything without removing.
    pub(crate) validate_only: bool,
}

/// Removes an app and its permissions. Returns the app as it was.
///
/// # Errors
/// [`Error::NotInstalled`] when there is no such app, [`Error::Changed`] when its revision is not the expected one.
pub(crate) async fn uninstall(
    shared: &Shared,
    store: &Store,
    asked: Uninstall,
) -> Result<AppDocument, Error> {
    let _alone = shared.alone(store.prefix(), &asked.slug).await;
    let Some(app) = store.app(asked.kind, &asked.slug).await? else {
        return Err(Error::NotInstalled { slug: asked.slug });
    };
    if !asked.etag.is_empty() && asked.etag != app.rev.as_str() {
        return Err(Error::Changed { slug: asked.slug });
    }
    if !asked.validate_only {
        // An update that was interrupted may have left more than the document names.
        let found = Found::of(shared, store, asked.kind, &asked.slug).await?;
        store.remove(asked.kind, &asked.slug, &app).await?;
        found.remove(shared, store, asked.kind, &asked.slug).await?;
        shared
            .contents
            .forget(store.prefix(), asked.kind, &asked.slug)
            .await?;
    }
    Ok(app)
}
