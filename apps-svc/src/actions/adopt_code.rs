//! Takes over the code of an app that other software has installed: from the file store that both use into the content store,
//! where apps are served from.

use std::sync::Arc;

use hamlet_proto::hamlet::instance::v1::Tenant;

use super::Shared;
use crate::{
    archive::Limits,
    contents::{Leaves, Tree},
    domain::{app_type::AppType, document::form, version_folder::VersionFolder},
    error::Error,
    store::{AppDocument, text},
};

/// How many apps whose code cannot be used are remembered, so that a visitor does not have it read again and again.
pub(super) const REMEMBERED: usize = 1024;

/// The files of an app, once they are in the content store. `None` when there is no code that can be used.
///
/// # Errors
/// When a store fails.
pub(super) async fn adopt_code(
    shared: &Shared,
    tenant: &Tenant,
    (kind, slug): (AppType, &str),
    app: &AppDocument,
) -> Result<Option<Arc<Leaves>>, Error> {
    let Some(place) = shared.code.place(tenant, kind, slug) else {
        return Ok(None);
    };
    let (version, checksum) = (text(app, "version"), text(app, "checksum"));
    let key = form(text(app, "source"), version, checksum);
    let seen = format!("{}/{}/{key}", tenant.prefix, kind.document_id(slug));
    if shared.unusable.get(&seen).is_some() {
        return Ok(None);
    }
    let Ok(_turn) = shared.at_once.acquire().await else {
        return Ok(None);
    };
    let _alone = shared.alone(&tenant.prefix, slug).await;
    let files = shared.contents.files(&tenant.prefix, kind, slug, &key);
    if let Some(files) = files.await? {
        return Ok(Some(files));
    }
    let folder = VersionFolder::of(version, checksum);
    let files = match place.read(folder, Limits::default()).await {
        Ok(Some(files)) => files,
        Ok(None) => return Ok(None),
        Err(error @ Error::Archive(_)) => {
            let domain = &tenant.domain;
            tracing::warn!(%error, domain, slug, version, "the code on the file store cannot be used");
            shared.unusable.insert(seen, ());
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let tree = tokio::task::spawn_blocking(move || Tree::of(&files)).await??;
    shared
        .contents
        .keep(&tenant.prefix, kind, slug, &key, &tree)
        .await?;
    tracing::info!(
        domain = tenant.domain,
        slug,
        version,
        "took over the code of an app from the file store"
    );
    shared
        .contents
        .files(&tenant.prefix, kind, slug, &key)
        .await
}
