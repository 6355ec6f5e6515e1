//! Checks the folder of an instance on a file store that other software uses, too: the tree lies there by its paths.

use std::{collections::HashSet, ffi::OsString, io, path::PathBuf};

use file_store::{APPS, Entry as OnDisk, Folder, KONNECTORS, Kind, THUMBNAILS, VERSIONS};
use futures::TryStreamExt as _;

use super::{Report, Stop, index::file_of, measure::measure, versions};
use crate::{
    domain::{
        ROOT_ID,
        finding::{Finding, FindingKind},
        integrity::{Entry, Parent},
        path::{AbsolutePath, join},
    },
    error::Error,
    folders::blocking,
    store::Store,
};

/// Folders beside the tree.
const BESIDE: [&str; 4] = [VERSIONS, THUMBNAILS, APPS, KONNECTORS];

/// The folder of an instance.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// The file store.
    pub(crate) root: PathBuf,
    /// The name of the folder.
    pub(crate) name: String,
}

impl Place {
    /// Opens the folder.
    pub(super) fn open(&self) -> io::Result<Folder> {
        Folder::open(&self.root)?.enter(&self.name)
    }

    async fn entries(&self, names: &[String]) -> Result<Vec<OnDisk>, Error> {
        let (place, names) = (self.clone(), names.to_vec());
        blocking(move || match place.open()?.enter_all(names) {
            Ok(folder) => folder.entries(),
            // It was removed meanwhile, or is reported with its document.
            Err(error) if is_away(&error) => Ok(Vec::new()),
            Err(error) => Err(error),
        })
        .await
    }

    async fn has(&self, names: &[String], name: OsString) -> Result<bool, Error> {
        let (place, names) = (self.clone(), names.to_vec());
        blocking(move || match place.open()?.enter_all(names) {
            Ok(folder) => Ok(folder.kind(name)?.is_some()),
            Err(error) if is_away(&error) => Ok(false),
            Err(error) => Err(error),
        })
        .await
    }
}

/// Whether there is no such folder.
pub(super) fn is_away(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

/// Checks everything.
pub(super) async fn check(store: &Store, place: &Place, report: &Report) -> Result<(), Stop> {
    let opened = place.clone();
    let there = blocking(move || match opened.open() {
        Ok(_) => Ok(true),
        Err(error) if is_away(&error) => Ok(false),
        Err(error) => Err(error),
    });
    if !there.await? {
        let missing = Finding {
            kind: FindingKind::ContentsMissing,
            id: ROOT_ID.to_owned(),
            path: "/".to_owned(),
            detail: format!("the file store has no folder {}", place.name),
        };
        return report.tell(missing).await;
    }
    check_documents(store, place, report).await?;
    check_versions(store, place, report).await?;
    check_folders(store, place, report).await?;
    check_old_contents(store, place, report).await
}

/// What each document of the tree promises.
async fn check_documents(store: &Store, place: &Place, report: &Report) -> Result<(), Stop> {
    let mut chunks = std::pin::pin!(store.entries_by_id());
    while let Some(chunk) = chunks.try_next().await? {
        let parents = store.parents_of(chunk.iter().map(|(it, _)| it)).await?;
        for (entry, _) in &chunk {
            let parent = parents.get(entry.parent_id()).unwrap_or(&Parent::Missing);
            if wrong_with(place, entry, parent).await?.is_none() {
                continue;
            }
            // It may have been changed, moved or removed since.
            let Some(now) = store.entries(&[&entry.id]).await?.remove(&entry.id) else {
                continue;
            };
            let parents = store.parents_of([&now].into_iter()).await?;
            let parent = parents.get(now.parent_id()).unwrap_or(&Parent::Missing);
            if let Some((kind, detail)) = wrong_with(place, &now, parent).await? {
                let path = now.path(parent);
                let id = now.id;
                let finding = Finding {
                    kind,
                    id,
                    path,
                    detail,
                };
                report.tell(finding).await?;
            }
        }
    }
    Ok(())
}

async fn wrong_with(
    place: &Place,
    entry: &Entry,
    parent: &Parent,
) -> Result<Option<(FindingKind, String)>, Error> {
    let Some(fields) = &entry.fields else {
        return Ok(None);
    };
    // Without a usable path there is no place. The check of the index reports it.
    let Ok(path) = AbsolutePath::parse(&entry.path(parent)) else {
        return Ok(None);
    };
    let expected = (!fields.is_directory()).then(|| fields.clone());
    let (place, names) = (place.clone(), names_of(&path));
    blocking(move || measure(&place, &names, expected.as_ref())).await
}

/// The names in a path.
pub(crate) fn names_of(path: &AbsolutePath) -> Vec<String> {
    let names = path.as_str().split('/').filter(|name| !name.is_empty());
    names.map(str::to_owned).collect()
}

/// What each document of a version promises.
async fn check_versions(store: &Store, place: &Place, report: &Report) -> Result<(), Stop> {
    let mut chunks = std::pin::pin!(store.versions_by_id());
    while let Some(chunk) = chunks.try_next().await? {
        for version in &chunk {
            let (Some(fields), Some(names)) =
                (versions::fields_of(version), names_of_version(&version.id))
            else {
                continue;
            };
            let place = place.clone();
            let wrong = blocking(move || measure(&place, &names, Some(&fields))).await?;
            if let Some(wrong) = wrong {
                versions::tell(store, report, &version.id, wrong).await?;
            }
        }
    }
    Ok(())
}

/// The place of an old version: the id of its file is split after four characters.
fn names_of_version(id: &str) -> Option<Vec<String>> {
    let (file, version) = id.split_once('/')?;
    let (first, rest) = file.split_at_checked(4)?;
    Some([VERSIONS, first, rest, version].map(str::to_owned).to_vec())
}

/// Whether everything on the disk has a document. The folders are read one by one, each with the children of its
/// directory.
async fn check_folders(store: &Store, place: &Place, report: &Report) -> Result<(), Stop> {
    let mut unread: Vec<(Vec<String>, String)> = vec![(Vec::new(), ROOT_ID.to_owned())];
    while let Some((names, directory)) = unread.pop() {
        let entries = place.entries(&names).await?;
        let children: HashSet<String> = store
            .children_of(&directory)
            .try_filter_map(|child| {
                let is_here = child.directory == directory;
                std::future::ready(Ok(is_here.then_some(child.name)))
            })
            .try_collect()
            .await?;
        let path = format!("/{}", names.join("/"));
        for OnDisk { name, kind } in entries {
            let text = name.to_string_lossy().into_owned();
            if names.is_empty() && BESIDE.contains(&text.as_str()) {
                continue;
            }
            let path = join(&path, &text);
            let known = name.to_str().is_some_and(|name| children.contains(name));
            if kind != Kind::Folder && known {
                continue;
            }
            let document = match AbsolutePath::parse(&path) {
                Ok(parsed) if name.to_str().is_some() => store.by_path(&parsed).await?,
                _ => None,
            };
            match document {
                Some(node) if kind == Kind::Folder => {
                    let mut inner = names.clone();
                    inner.push(text);
                    unread.push((inner, node.id));
                }
                Some(_) => {}
                // It may be gone by now.
                None if place.has(&names, name).await? => {
                    report.tell(without_document(path)).await?;
                }
                None => {}
            }
        }
    }
    Ok(())
}

fn without_document(path: String) -> Finding {
    Finding {
        kind: FindingKind::IndexMissing,
        id: String::new(),
        detail: "it lies on the file store, and has no document".to_owned(),
        path,
    }
}

/// Whether all old contents on the disk have a version.
async fn check_old_contents(store: &Store, place: &Place, report: &Report) -> Result<(), Stop> {
    let top = [VERSIONS.to_owned()];
    for first in place.entries(&top).await? {
        let Some(first) = first.name.to_str().map(str::to_owned) else {
            continue;
        };
        let below_first = [top.to_vec(), vec![first.clone()]].concat();
        for rest in place.entries(&below_first).await? {
            let Some(rest) = rest.name.to_str().map(str::to_owned) else {
                continue;
            };
            let folder = [below_first.clone(), vec![rest.clone()]].concat();
            let ids: Vec<String> = place
                .entries(&folder)
                .await?
                .into_iter()
                .map(|it| format!("{first}{rest}/{}", it.name.to_string_lossy()))
                .collect();
            let asked: Vec<&str> = ids.iter().map(String::as_str).collect();
            let known = store.versions(&asked).await?;
            for id in ids.iter().filter(|id| !known.contains_key(*id)) {
                let (_, version) = id.split_once('/').unwrap_or_default();
                if place.has(&folder, version.into()).await? {
                    let mut finding = without_document(format!("/{}/{version}", folder.join("/")));
                    file_of(id).clone_into(&mut finding.id);
                    report.tell(finding).await?;
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::names_of_version;

    /// A test vector of the compatible layout.
    #[test]
    fn the_id_of_a_file_is_split_after_four_characters() {
        let names = names_of_version("2cef0123456789abcdef0123456789ab/1-abc");
        let expected = [
            ".cozy_versions",
            "2cef",
            "0123456789abcdef0123456789ab",
            "1-abc",
        ];
        assert_eq!(names.unwrap_or_default(), expected);
        assert_eq!(names_of_version("2cef"), None);
        assert_eq!(names_of_version("a/b"), None);
    }
}
