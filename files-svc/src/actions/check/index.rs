//! Checks that the documents form a tree.

use futures::TryStreamExt as _;

use super::{Report, Stop};
use crate::{
    domain::{
        ROOT_ID, TRASH_ID,
        finding::{Finding, FindingKind},
        integrity::{Entry, Parent, judge},
    },
    error::Error,
    store::Store,
};

/// Checks every document against its parent directory.
pub(super) async fn check(store: &Store, report: &Report) -> Result<(), Stop> {
    check_fixed(store, report).await?;
    let mut chunks = std::pin::pin!(store.entries_by_id());
    while let Some(chunk) = chunks.try_next().await? {
        let parents = store.parents_of(chunk.iter().map(|(it, _)| it)).await?;
        for (entry, conflicts) in &chunk {
            let parent = parents.get(entry.parent_id()).unwrap_or(&Parent::Missing);
            if *conflicts > 0 {
                report.tell(conflict(entry, parent, *conflicts)).await?;
            }
            if !judge(entry, parent).is_empty() {
                look_again(store, &entry.id, report).await?;
            }
        }
    }
    Ok(())
}

async fn check_fixed(store: &Store, report: &Report) -> Result<(), Stop> {
    let found = store.entries(&[ROOT_ID, TRASH_ID]).await?;
    for (id, kind, path) in [
        (ROOT_ID, FindingKind::MissingRoot, "/"),
        (TRASH_ID, FindingKind::MissingTrash, "/.cozy_trash"),
    ] {
        if !found.contains_key(id) {
            let missing = Finding {
                kind,
                id: id.to_owned(),
                path: path.to_owned(),
                detail: format!("the document {id} does not exist"),
            };
            report.tell(missing).await?;
        }
    }
    Ok(())
}

fn conflict(entry: &Entry, parent: &Parent, conflicts: usize) -> Finding {
    Finding {
        kind: FindingKind::Conflict,
        id: entry.id.clone(),
        path: entry.path(parent),
        detail: format!("{conflicts} revisions lie beside the one that counts"),
    }
}

/// Reads a document and its parent again, and reports what is still wrong.
async fn look_again(store: &Store, id: &str, report: &Report) -> Result<(), Stop> {
    let Some(entry) = store.entries(&[id]).await?.remove(id) else {
        return Ok(());
    };
    let parents = store.parents_of([&entry].into_iter()).await?;
    let parent = parents.get(entry.parent_id()).unwrap_or(&Parent::Missing);
    for mut finding in judge(&entry, parent) {
        if finding.kind == FindingKind::BadFullpath && lies_below_itself(store, id).await? {
            finding.kind = FindingKind::OrphanTree;
            "it lies below itself: no way leads from the root to it"
                .clone_into(&mut finding.detail);
        }
        report.tell(finding).await?;
    }
    Ok(())
}

/// Whether a directory is its own ancestor. Brent's algorithm ("An improved Monte Carlo factorization algorithm", 1980)
/// also ends when the cycle lies further up; it remembers one directory, however long the path is.
async fn lies_below_itself(store: &Store, id: &str) -> Result<bool, Error> {
    let mut at = id.to_owned();
    let (mut remembered, mut steps, mut power) = (at.clone(), 0_u64, 1_u64);
    loop {
        let up = match store.entries(&[&at]).await?.remove(&at) {
            Some(entry) => entry.parent_id().to_owned(),
            None => return Ok(false),
        };
        if up == id {
            return Ok(true);
        }
        if up.is_empty() || up == remembered {
            return Ok(false);
        }
        steps += 1;
        if steps == power {
            up.clone_into(&mut remembered);
            (steps, power) = (0, power.saturating_mul(2));
        }
        at = up;
    }
}

/// Finds versions whose file does not exist.
pub(super) async fn check_versions(store: &Store, report: &Report) -> Result<(), Stop> {
    let mut chunks = std::pin::pin!(store.versions_by_id());
    while let Some(chunk) = chunks.try_next().await? {
        let ids: Vec<&str> = chunk.iter().map(|it| file_of(&it.id)).collect();
        let files = store.entries(&ids).await?;
        for version in &chunk {
            let file = file_of(&version.id);
            let is_file = |entry: &Entry| {
                let fields = entry.fields.as_ref();
                fields.is_some_and(|fields| !fields.is_directory())
            };
            if files.get(file).is_some_and(is_file)
                || store.entries(&[file]).await?.get(file).is_some_and(is_file)
                || !store
                    .versions(&[&version.id])
                    .await?
                    .contains_key(&version.id)
            {
                continue;
            }
            let missing = Finding {
                kind: FindingKind::FileMissing,
                id: version.id.clone(),
                path: String::new(),
                detail: format!("it is a version of the file {file:?}, which does not exist"),
            };
            report.tell(missing).await?;
        }
    }
    Ok(())
}

/// The id of a version's file. The id of a version is `FILE/VERSION`.
pub(super) fn file_of(version: &str) -> &str {
    version.split_once('/').map_or("", |(file, _)| file)
}
