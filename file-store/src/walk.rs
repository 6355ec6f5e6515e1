//! Everything below a folder.

use std::{ffi::OsString, io};

use crate::{Folder, Kind};

/// Something below a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The names that lead to it.
    pub names: Vec<OsString>,
    /// What it is.
    pub kind: Kind,
}

/// Goes through everything below a folder, each folder before what is in it. What disappears meanwhile is left out.
#[derive(Debug)]
pub struct Walk {
    folder: Folder,
    /// Read, and not given out yet.
    ready: Vec<Found>,
    /// Folders that are still to be read.
    unread: Vec<Vec<OsString>>,
    skipped: Vec<&'static str>,
}

impl Walk {
    /// Everything below `folder`, without the entries of these names directly in it. Errors are items.
    #[must_use]
    pub fn new(folder: Folder, skipped: &[&'static str]) -> Self {
        Self {
            folder,
            ready: Vec::new(),
            unread: vec![Vec::new()],
            skipped: skipped.to_vec(),
        }
    }

    fn read(&mut self, names: &[OsString]) -> io::Result<()> {
        let entries = match self.folder.enter_all(names) {
            Ok(folder) => folder.entries()?,
            // It was removed, or something else has its name now.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        for entry in entries {
            if names.is_empty() && self.skipped.iter().any(|it| entry.name == *it) {
                continue;
            }
            let mut found = names.to_vec();
            found.push(entry.name);
            if entry.kind == Kind::Folder {
                self.unread.push(found.clone());
            }
            self.ready.push(Found {
                names: found,
                kind: entry.kind,
            });
        }
        Ok(())
    }
}

impl Iterator for Walk {
    type Item = io::Result<Found>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(found) = self.ready.pop() {
                return Some(Ok(found));
            }
            let names = self.unread.pop()?;
            if let Err(error) = self.read(&names) {
                return Some(Err(error));
            }
        }
    }
}

impl Folder {
    /// The number of files below this folder. Links count as files.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn count(self) -> io::Result<u64> {
        Walk::new(self, &[]).try_fold(0, |count, found| {
            Ok(count + u64::from(found?.kind != Kind::Folder))
        })
    }
}
