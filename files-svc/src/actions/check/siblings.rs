//! Finds names that occur twice in one directory.

use futures::TryStreamExt as _;

use super::{Report, Stop};
use crate::{
    domain::{
        finding::{Finding, FindingKind},
        integrity::Parent,
        siblings::{REMEMBERED, Siblings},
    },
    store::Store,
};

/// The directory whose children are being read.
struct Directory {
    id: String,
    siblings: Siblings,
}

/// Reads the children of all directories, one directory after the other.
pub(super) async fn check(store: &Store, report: &Report) -> Result<(), Stop> {
    let mut children = std::pin::pin!(store.children_by_directory());
    let mut open: Option<Directory> = None;
    while let Some(child) = children.try_next().await? {
        if open.as_ref().is_none_or(|it| it.id != child.directory)
            && let Some(whole) = open.replace(Directory {
                id: child.directory,
                siblings: Siblings::new(REMEMBERED),
            })
        {
            finish(store, whole, report).await?;
        }
        if let Some(directory) = &mut open {
            directory.siblings.add(&child.id, &child.name);
        }
    }
    match open {
        Some(last) => finish(store, last, report).await,
        None => Ok(()),
    }
}

/// Reports the duplicates of a directory. A directory with more names than fit in memory is read again, in parts.
async fn finish(store: &Store, directory: Directory, report: &Report) -> Result<(), Stop> {
    let mut parts = match directory.siblings.finish() {
        Ok(twice) => return tell(store, &directory.id, &twice, report).await,
        Err(parts) => parts,
    };
    while let Some(mut part) = parts.pop() {
        let mut children = std::pin::pin!(store.children_of(&directory.id));
        while let Some(child) = children.try_next().await? {
            if child.directory == directory.id {
                part.add(&child.id, &child.name);
            }
        }
        match part.finish() {
            Ok(twice) => tell(store, &directory.id, &twice, report).await?,
            Err(more) => parts.extend(more),
        }
    }
    Ok(())
}

async fn tell(
    store: &Store,
    directory: &str,
    twice: &[String],
    report: &Report,
) -> Result<(), Stop> {
    for id in twice {
        // The document may have been moved or removed while the directory was read.
        let Some(entry) = store.entries(&[id]).await?.remove(id) else {
            continue;
        };
        if entry.parent_id() != directory {
            continue;
        }
        let parents = store.parents_of([&entry].into_iter()).await?;
        let parent = parents.get(directory).unwrap_or(&Parent::Missing);
        let finding = Finding {
            kind: FindingKind::DuplicateName,
            path: entry.path(parent),
            id: entry.id,
            detail: "another entry of this directory has the same name".to_owned(),
        };
        report.tell(finding).await?;
    }
    Ok(())
}
