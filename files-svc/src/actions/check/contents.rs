//! Checks that the contents of files exist, with the documented size and hash, and that every stored object belongs to
//! a file.

use futures::TryStreamExt as _;

use super::{Report, Stop, index::file_of, versions};
use crate::{
    contents::{Contents, Listed, Sum},
    domain::{
        finding::{Finding, FindingKind},
        integrity::{Entry, Parent},
        node::Fields,
        object::Object,
    },
    error::Error,
    store::Store,
};

/// The contents that a document describes.
struct Promise<'a> {
    file: &'a str,
    internal: &'a str,
    fields: &'a Fields,
}

/// Checks the contents of every file.
pub(super) async fn check_files(
    store: &Store,
    contents: &Contents,
    report: &Report,
) -> Result<(), Stop> {
    let mut chunks = std::pin::pin!(store.entries_by_id());
    while let Some(chunk) = chunks.try_next().await? {
        for (entry, _) in &chunk {
            if wrong_with_file(contents, store, entry).await?.is_none() {
                continue;
            }
            // The file may have been changed or removed since its document was read.
            let Some(now) = store.entries(&[&entry.id]).await?.remove(&entry.id) else {
                continue;
            };
            if let Some((kind, detail)) = wrong_with_file(contents, store, &now).await? {
                let parents = store.parents_of([&now].into_iter()).await?;
                let parent = parents.get(now.parent_id()).unwrap_or(&Parent::Missing);
                let finding = Finding {
                    kind,
                    path: now.path(parent),
                    id: now.id,
                    detail,
                };
                report.tell(finding).await?;
            }
        }
    }
    Ok(())
}

async fn wrong_with_file(
    contents: &Contents,
    store: &Store,
    entry: &Entry,
) -> Result<Option<(FindingKind, String)>, Error> {
    // A document that is neither file nor directory has no contents. The check of the index reports it.
    let Some(fields) = entry.fields.as_ref().filter(|it| !it.is_directory()) else {
        return Ok(None);
    };
    let promise = Promise {
        file: &entry.id,
        internal: &fields.internal_vfs_id,
        fields,
    };
    wrong_with(contents, store, &promise).await
}

/// Checks the contents of every old version.
pub(super) async fn check_versions(
    store: &Store,
    contents: &Contents,
    report: &Report,
) -> Result<(), Stop> {
    let mut chunks = std::pin::pin!(store.versions_by_id());
    while let Some(chunk) = chunks.try_next().await? {
        for version in &chunk {
            let Some(fields) = versions::fields_of(version) else {
                continue;
            };
            let promise = Promise {
                file: file_of(&version.id),
                internal: internal_of(&version.id),
                fields: &fields,
            };
            if let Some(wrong) = wrong_with(contents, store, &promise).await? {
                versions::tell(store, report, &version.id, wrong).await?;
            }
        }
    }
    Ok(())
}

fn internal_of(version: &str) -> &str {
    version.split_once('/').map_or("", |(_, internal)| internal)
}

async fn wrong_with(
    contents: &Contents,
    store: &Store,
    promise: &Promise<'_>,
) -> Result<Option<(FindingKind, String)>, Error> {
    if promise.internal.is_empty() {
        let wrong = "its document names no contents (internal_vfs_id)";
        return Ok(Some((FindingKind::ContentsMissing, wrong.to_owned())));
    }
    let promised = promise.fields.size_in_digits();
    let found = contents
        .measure(store.prefix(), promise.file, promise.internal, promised)
        .await?;
    let Some(Sum { size, md5 }) = found else {
        let wrong = format!("its contents {} do not exist", promise.internal);
        return Ok(Some((FindingKind::ContentsMissing, wrong)));
    };
    if let Some(promised) = promised.filter(|promised| *promised != size) {
        let wrong = format!("it should have {promised} bytes, and its contents have {size}");
        return Ok(Some((FindingKind::ContentMismatch, wrong)));
    }
    if let (Some(promised), Some(md5)) = (promise.fields.md5(), md5)
        && promised != md5
    {
        let wrong = format!(
            "its MD5 should be {}, and the one of its contents is {}",
            hex::encode(promised),
            hex::encode(md5)
        );
        return Ok(Some((FindingKind::ContentMismatch, wrong)));
    }
    Ok(None)
}

/// Checks that every object of the store belongs to a file or version.
pub(super) async fn check_objects(
    store: &Store,
    contents: &Contents,
    report: &Report,
) -> Result<(), Stop> {
    let mut chunks = std::pin::pin!(contents.list(store.prefix()).try_chunks(200));
    while let Some(chunk) = chunks.try_next().await.map_err(|stopped| stopped.1)? {
        let ids: Vec<&str> = chunk.iter().filter_map(Listed::file).collect();
        let files = store.entries(&ids).await?;
        let versions: Vec<String> = chunk.iter().filter_map(version_id).collect();
        let versions: Vec<&str> = versions.iter().map(String::as_str).collect();
        let versions = store.versions(&versions).await?;
        for object in &chunk {
            let file = object.file().and_then(|id| files.get(id));
            let is_version = version_id(object).is_some_and(|id| versions.contains_key(&id));
            let Some((kind, detail)) = wrong_with_object(object, file, is_version) else {
                continue;
            };
            // The object may have been removed together with its file.
            if contents.is_there(object).await? {
                let finding = Finding {
                    kind,
                    id: object.file().unwrap_or_default().to_owned(),
                    path: String::new(),
                    detail: format!("{} {detail}", object.name),
                };
                report.tell(finding).await?;
            }
        }
    }
    Ok(())
}

/// The id of the version to which an object would belong.
fn version_id(object: &Listed) -> Option<String> {
    match &object.object {
        Some(Object::Contents { file, internal }) => Some(format!("{file}/{internal}")),
        _ => None,
    }
}

fn wrong_with_object(
    object: &Listed,
    file: Option<&Entry>,
    is_version: bool,
) -> Option<(FindingKind, &'static str)> {
    let fields = file.and_then(|entry| entry.fields.as_ref());
    match &object.object {
        Some(Object::Avatar) => None,
        Some(Object::Thumbnail { .. }) => file.is_none().then_some((
            FindingKind::ThumbnailWithoutFile,
            "is a thumbnail of a file that does not exist",
        )),
        Some(Object::Contents { internal, .. }) => match fields {
            _ if is_version => None,
            Some(fields) if fields.is_directory() => Some((
                FindingKind::TypeMismatch,
                "are contents, and the document is one of a directory",
            )),
            Some(fields) if fields.internal_vfs_id == *internal => None,
            Some(_) => Some((
                FindingKind::IndexMissing,
                "are contents that neither the file nor one of its versions names",
            )),
            None => Some((
                FindingKind::IndexMissing,
                "are contents of a file that does not exist",
            )),
        },
        None => Some((
            FindingKind::IndexMissing,
            "is no name that contents have here",
        )),
    }
}
