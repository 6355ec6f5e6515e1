//! Uninstalls an app.

use hamlet_proto::hamlet::instance::v1::Tenant;

use super::{
    Shared,
    belongings::{Found, restore},
};
use crate::{domain::app_type::AppType, error::Error, store::AppDocument};

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
    tenant: &Tenant,
    asked: Uninstall,
) -> Result<AppDocument, Error> {
    let store = shared.store(tenant)?;
    let (kind, slug) = (asked.kind, asked.slug.as_str());
    let _alone = shared.alone(store.prefix(), slug).await;
    loop {
        let app = store.require(kind, slug, &asked.etag).await?;
        if asked.validate_only {
            return Ok(app);
        }
        // An update that was interrupted may have left more than the document names.
        let found = Found::of(shared, &store, tenant, kind, slug).await?;
        found.remove_triggers(&store).await?;
        match store.remove(kind, slug, &app).await {
            Ok(()) => {
                let contents = &shared.contents;
                contents.forget(store.prefix(), kind, slug).await?;
                found.remove_code().await?;
                return Ok(app);
            }
            // Another replica has replaced it. It is to go all the same.
            Err(Error::Changed { .. }) if asked.etag.is_empty() => {}
            Err(Error::Changed { slug: changed }) => {
                if let Some(now) = store.app(kind, slug).await? {
                    restore(&store, tenant, kind, slug, &now).await?;
                }
                return Err(Error::Changed { slug: changed });
            }
            Err(error) => return Err(error),
        }
    }
}
