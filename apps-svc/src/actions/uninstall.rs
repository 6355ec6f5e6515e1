//! Removing an app.

use super::Shared;
use crate::{
    domain::kind::Kind,
    error::Error,
    store::{AppDocument, Store},
};

/// What is asked for.
#[derive(Debug)]
pub(crate) struct Uninstall {
    /// The app's slug.
    pub(crate) slug: String,
    /// What it is.
    pub(crate) kind: Kind,
    /// The revision that it has to have; empty for any.
    pub(crate) etag: String,
    /// Whether to check everything and remove nothing.
    pub(crate) validate_only: bool,
}

/// Removes an app and what it was allowed to do. Returns it as it was.
///
/// # Errors
/// [`Error::NotInstalled`], [`Error::Changed`], or what the database says.
pub(crate) async fn uninstall(
    shared: &Shared,
    store: &Store,
    asked: Uninstall,
) -> Result<AppDocument, Error> {
    let Some(app) = store.app(asked.kind, &asked.slug).await? else {
        return Err(Error::NotInstalled { slug: asked.slug });
    };
    if !asked.etag.is_empty() && asked.etag != app.rev.as_str() {
        return Err(Error::Changed { slug: asked.slug });
    }
    if !asked.validate_only {
        store.remove(asked.kind, &asked.slug, &app).await?;
        shared
            .contents
            .forget(store.prefix(), asked.kind, &asked.slug)
            .await?;
    }
    Ok(app)
}
