//! The page of an app: its template, with the values for whoever opens it.

use std::{sync::Arc, time::Duration};

use futures::TryStreamExt as _;
use hamlet_proto::hamlet::instance::v1::{AppPage, GetAppPageRequest, identity::Kind};
use quick_cache::{Weighter, sync::Cache};
use service_kit::caller::Caller;
use tonic::{Request, Status};

use super::Shared;
use crate::{
    contents::Leaf,
    domain::template::{Template, Wrong},
    error::Error,
};

/// The largest page, in bytes: it is filled in in memory.
const LARGEST: u64 = 1 << 20;
/// How much memory pages that were read lately may take, in bytes.
const MEMORY: u64 = 16 << 20;
/// How long the instance service may take.
const WITHIN: Duration = Duration::from_secs(5);

/// Pages that were read lately, by the hash of their file.
pub(super) type Templates = Cache<String, Arc<Template>, BySize>;

/// Weighs a page.
#[derive(Clone, Debug)]
pub(super) struct BySize;

impl Weighter<String, Arc<Template>> for BySize {
    fn weight(&self, hash: &String, page: &Arc<Template>) -> u64 {
        (hash.len() + page.weight()) as u64
    }
}

pub(super) fn templates() -> Templates {
    Cache::with_weighter(1024, MEMORY, BySize)
}

/// Why a page cannot be shown.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PageError {
    /// The file is not in the content store.
    #[error("the file is not in the content store")]
    Missing,
    /// It is too large.
    #[error("the page has {0} bytes, and {LARGEST} is the most")]
    TooLarge(u64),
    /// It is not UTF-8.
    #[error("the page is not UTF-8")]
    NoText,
    /// The slots of the page are wrong.
    #[error(transparent)]
    Template(#[from] Wrong),
    /// It cannot be read.
    #[error(transparent)]
    Store(#[from] Error),
}

/// The template in a file.
///
/// # Errors
/// When the file cannot be read, or is no page.
pub(crate) async fn template(shared: &Shared, leaf: &Leaf) -> Result<Arc<Template>, PageError> {
    if let Some(page) = shared.templates.get(&leaf.sha256) {
        return Ok(page);
    }
    if leaf.size > LARGEST {
        return Err(PageError::TooLarge(leaf.size));
    }
    let Some(blob) = shared.contents.blob(leaf, None).await? else {
        return Err(PageError::Missing);
    };
    let pieces: Vec<bytes::Bytes> = blob.bytes.try_collect().await?;
    let text = String::from_utf8(pieces.concat()).map_err(|_| PageError::NoText)?;
    let page = Arc::new(Template::parse(&text)?);
    shared
        .templates
        .insert(leaf.sha256.clone(), Arc::clone(&page));
    Ok(page)
}

/// What the page of an app holds for whoever has made a call.
///
/// # Errors
/// When the instance service fails.
pub(crate) async fn values(
    shared: &Shared,
    mut request: Request<GetAppPageRequest>,
) -> Result<AppPage, Status> {
    request.set_timeout(WITHIN);
    let mut identity = shared.identity.clone();
    Ok(identity.get_app_page(request).await?.into_inner())
}

/// Whether the caller has a session: the owner, in a browser. Tokens open no pages.
pub(crate) fn is_logged_in(caller: &Caller) -> bool {
    caller
        .identity()
        .is_some_and(|identity| identity.kind() == Kind::Session)
}
