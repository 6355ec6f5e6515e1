//! The folder of one instance on one file store. All of this blocks.
//!
//! A folder is built aside, under a hidden name of its instance, and appears at once under the name of its domain. It
//! goes the other way round. Somebody else may make a folder of that name at any time, so it is told by its identity.

use std::{io, path::Path};

use file_store::{Folder, Identity, Kind};

/// What came of giving a folder its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Appearance {
    /// The folder is there: now, or since an earlier try.
    There,
    /// There is neither the folder nor what was built aside.
    Nothing,
    /// Something else has the name.
    Taken,
}

fn built_aside(prefix: &str) -> String {
    format!(".hamlet-new-{prefix}")
}

fn set_aside(prefix: &str) -> String {
    format!(".hamlet-gone-{prefix}")
}

/// The prefix in the name of a folder that stands aside.
pub(super) fn prefix_of(name: &str) -> Option<&str> {
    name.strip_prefix(".hamlet-new-")
        .or_else(|| name.strip_prefix(".hamlet-gone-"))
}

/// Opens a file store; `None` when its folder does not exist.
pub(super) fn open(root: &Path) -> io::Result<Option<Folder>> {
    found(Folder::open(root))
}

fn found<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether anything has the name of a domain.
pub(super) fn is_taken(root: &Path, name: &str) -> io::Result<bool> {
    match open(root)? {
        Some(store) => Ok(store.kind(name)?.is_some()),
        None => Ok(false),
    }
}

/// Makes the store if it is missing, and builds the folder with its directories aside. Idempotent.
pub(super) fn build(
    root: &Path,
    prefix: &str,
    directories: &[Vec<String>],
) -> io::Result<Identity> {
    std::fs::create_dir_all(root)?;
    let store = Folder::open(root)?;
    let folder = store.make(built_aside(prefix))?;
    for names in directories {
        folder.make_all(names)?.sync()?;
    }
    folder.sync()?;
    store.sync()?;
    folder.identity()
}

/// Gives what was built the name of the domain.
pub(super) fn appear(root: &Path, prefix: &str, name: &Name) -> io::Result<Appearance> {
    let Some(store) = open(root)? else {
        return Ok(Appearance::Nothing);
    };
    let Name { name, identity } = name;
    match store.rename(built_aside(prefix), name) {
        Ok(()) => {
            store.sync()?;
            Ok(Appearance::There)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            if !is_still(&store, name, *identity)? {
                return Ok(Appearance::Taken);
            }
            // It appeared already, and a second owner built one more.
            store.remove_all(built_aside(prefix))?;
            Ok(Appearance::There)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(match store.kind(name)? {
            Some(Kind::Folder) if is_still(&store, name, *identity)? => Appearance::There,
            Some(_) => Appearance::Taken,
            None => Appearance::Nothing,
        }),
        Err(error) => Err(error),
    }
}

/// Removes what stands aside of an instance and, if it is given, the folder of its domain. Returns the number of files.
/// Idempotent.
pub(super) fn remove(root: &Path, prefix: &str, name: Option<&Name>) -> io::Result<u64> {
    let Some(store) = open(root)? else {
        return Ok(0);
    };
    let gone = set_aside(prefix);
    let mut removed = store.remove_all(&gone)?;
    if let Some(Name { name, identity }) = name {
        match store.kind(name)? {
            None => {}
            Some(Kind::Folder) if !is_still(&store, name, *identity)? => {}
            Some(Kind::Folder) => {
                // It may disappear meanwhile.
                found(store.rename(name, &gone))?;
                removed += store.remove_all(&gone)?;
            }
            Some(Kind::File | Kind::Other) => {
                return Err(io::Error::other(format!(
                    "{name} on the file store is no folder, and no link is followed; remove it by hand"
                )));
            }
        }
    }
    removed += store.remove_all(built_aside(prefix))?;
    store.sync()?;
    Ok(removed)
}

/// The folder of a domain.
#[derive(Clone, Debug)]
pub(super) struct Name {
    /// Its name.
    pub(super) name: String,
    /// Which folder is meant; `None` for any of that name.
    pub(super) identity: Option<Identity>,
}

/// Whether the folder of this name is the one that is meant.
fn is_still(store: &Folder, name: &str, identity: Option<Identity>) -> io::Result<bool> {
    let Some(identity) = identity else {
        return Ok(true);
    };
    match found(store.enter(name))? {
        Some(folder) => Ok(folder.identity()? == identity),
        None => Ok(false),
    }
}

/// The number of files in the folder of a domain; `None` when there is none.
pub(super) fn count(root: &Path, name: &Name) -> io::Result<Option<u64>> {
    let Some(store) = open(root)? else {
        return Ok(None);
    };
    let Name { name, identity } = name;
    match store.kind(name)? {
        None => Ok(None),
        Some(Kind::Folder) => match found(store.enter(name))? {
            Some(folder) if is_still(&store, name, *identity)? => Ok(Some(folder.count()?)),
            _ => Ok(None),
        },
        Some(Kind::File | Kind::Other) => Ok(Some(1)),
    }
}

/// The folders that stand aside: the prefix of each, with its number of files.
pub(super) fn aside(root: &Path) -> io::Result<Vec<(String, u64)>> {
    let Some(store) = open(root)? else {
        return Ok(Vec::new());
    };
    let mut all = Vec::new();
    for entry in store.entries()? {
        let Some(prefix) = entry.name.to_str().and_then(prefix_of) else {
            continue;
        };
        if let Some(folder) = found(store.enter(&entry.name))? {
            all.push((prefix.to_owned(), folder.count()?));
        }
    }
    Ok(all)
}
