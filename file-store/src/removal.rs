//! Removing a folder with everything below it.

use std::{
    ffi::{OsStr, OsString},
    io,
};

use crate::{Folder, Kind};

/// A folder that is being removed.
struct Removing {
    name: OsString,
    /// The folders in it that are still there.
    inner: Vec<OsString>,
}

impl Folder {
    /// Removes an entry with everything below it. Links are removed, and not followed. Returns the number of files that
    /// were removed. Idempotent; several may remove the same folder at once.
    ///
    /// # Errors
    /// When something cannot be removed; a part may then be gone.
    pub fn remove_all(&self, name: impl AsRef<OsStr>) -> io::Result<u64> {
        let name = name.as_ref();
        match self.kind(name)? {
            None => return Ok(0),
            Some(Kind::Folder) => {}
            Some(Kind::File | Kind::Other) => return Ok(u64::from(self.remove_file(name)?)),
        }
        let mut removed = 0;
        let mut way: Vec<Removing> = Vec::new();
        way.extend(gone(self.empty(&[], name, &mut removed))?);
        while let Some(last) = way.last_mut() {
            if let Some(inner) = last.inner.pop() {
                let names: Vec<&OsStr> = way.iter().map(|it| it.name.as_os_str()).collect();
                let next = gone(self.empty(&names, &inner, &mut removed))?;
                way.extend(next);
                continue;
            }
            let Some(empty) = way.pop() else { break };
            if let Some(above) = gone(self.enter_all(way.iter().map(|it| &it.name)))? {
                above.remove_empty(&empty.name)?;
            }
        }
        Ok(removed)
    }

    /// Removes the files of a folder, and finds the folders in it.
    fn empty(&self, way: &[&OsStr], name: &OsStr, removed: &mut u64) -> io::Result<Removing> {
        let folder = self.enter_all(way)?.enter(name)?;
        let mut inner = Vec::new();
        for entry in folder.entries()? {
            if entry.kind == Kind::Folder {
                inner.push(entry.name);
            } else {
                *removed += u64::from(folder.remove_file(&entry.name)?);
            }
        }
        Ok(Removing {
            name: name.to_owned(),
            inner,
        })
    }
}

/// What is gone was removed by somebody else.
fn gone<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use std::{fs, os::unix::fs::symlink};

    use crate::{Folder, Walk};

    #[test]
    fn everything_goes_but_what_links_lead_to() {
        let place = tempfile::tempdir().unwrap();
        let inside = place.path().join("gone/a/b/c");
        fs::create_dir_all(&inside).unwrap();
        fs::create_dir_all(place.path().join("gone/a/d")).unwrap();
        fs::create_dir(place.path().join("kept")).unwrap();
        fs::write(place.path().join("kept/file"), "k").unwrap();
        for file in ["gone/1", "gone/a/2", "gone/a/b/c/3"] {
            fs::write(place.path().join(file), "x").unwrap();
        }
        symlink("../../kept", place.path().join("gone/a/link")).unwrap();

        let folder = Folder::open(place.path()).unwrap();
        let inner = folder.enter("gone").unwrap();
        let all: Vec<_> = Walk::new(inner, &["1"]).map(Result::unwrap).collect();
        assert_eq!(all.len(), 7, "{all:?}");
        assert_eq!(folder.enter("gone").unwrap().count().unwrap(), 4);
        assert_eq!(folder.remove_all("gone").unwrap(), 4);
        assert_eq!(folder.remove_all("gone").unwrap(), 0, "once more");
        assert!(place.path().join("kept/file").exists());
        assert_eq!(folder.remove_all("kept").unwrap(), 1);
        assert!(folder.entries().unwrap().is_empty());
    }
}
