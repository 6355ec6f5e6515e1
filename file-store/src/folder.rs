//! A folder that was opened once. What is below it is reached by names alone.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io,
    os::{
        fd::OwnedFd,
        unix::ffi::{OsStrExt as _, OsStringExt as _},
    },
    path::Path,
};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, RenameFlags};

use crate::io as std_error;

/// The mode of folders, as other software sets it.
const FOLDER: Mode = Mode::RWXU
    .union(Mode::RGRP)
    .union(Mode::XGRP)
    .union(Mode::ROTH)
    .union(Mode::XOTH);
/// The mode of files, as other software sets it.
const FILE: Mode = Mode::RUSR
    .union(Mode::WUSR)
    .union(Mode::RGRP)
    .union(Mode::ROTH);

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A folder.
    Folder,
    /// A file.
    File,
    /// A symbolic link, a socket, a device.
    Other,
}

/// An entry of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: OsString,
    /// What it is.
    pub kind: Kind,
}

/// An open folder. It stays the same folder when it is renamed.
#[derive(Debug)]
pub struct Folder {
    fd: OwnedFd,
}

impl Folder {
    /// Opens the folder at a path of the configuration. Links in this path are followed.
    ///
    /// # Errors
    /// When there is no such folder, or it cannot be opened.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(CWD, path, flags, Mode::empty()).map_err(std_error)?;
        Ok(Self { fd })
    }

    /// Opens a folder of this folder.
    ///
    /// # Errors
    /// When there is no such folder, or the name is that of a link or a file.
    pub fn enter(&self, name: impl AsRef<OsStr>) -> io::Result<Self> {
        let name = one_name(name.as_ref())?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&self.fd, name, flags, Mode::empty()).map_err(std_error)?;
        Ok(Self { fd })
    }

    /// Opens the folder to which these names lead.
    ///
    /// # Errors
    /// As [`Self::enter`].
    pub fn enter_all<N: AsRef<OsStr>>(
        &self,
        names: impl IntoIterator<Item = N>,
    ) -> io::Result<Self> {
        self.follow(names, Self::enter)
    }

    /// Makes a folder if it is missing, and opens it.
    ///
    /// # Errors
    /// When it cannot be made, or something else has the name.
    pub fn make(&self, name: impl AsRef<OsStr>) -> io::Result<Self> {
        match rustix::fs::mkdirat(&self.fd, one_name(name.as_ref())?, FOLDER) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => self.enter(name),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes the folders to which these names lead as far as they are missing, and opens the last one.
    ///
    /// # Errors
    /// As [`Self::make`].
    pub fn make_all<N: AsRef<OsStr>>(
        &self,
        names: impl IntoIterator<Item = N>,
    ) -> io::Result<Self> {
        self.follow(names, Self::make)
    }

    /// Takes one step for each name.
    fn follow<N>(
        &self,
        names: impl IntoIterator<Item = N>,
        step: impl Fn(&Self, N) -> io::Result<Self>,
    ) -> io::Result<Self> {
        let here = Self {
            fd: self.fd.try_clone()?,
        };
        names.into_iter().try_fold(here, |at, name| step(&at, name))
    }

    /// What a name stands for; `None` when there is nothing of that name.
    ///
    /// # Errors
    /// When that cannot be found out.
    pub fn kind(&self, name: impl AsRef<OsStr>) -> io::Result<Option<Kind>> {
        let name = one_name(name.as_ref())?;
        match rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(kind_of(FileType::from_raw_mode(stat.st_mode)))),
            Err(rustix::io::Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The entries, in no order.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn entries(&self) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in Dir::read_from(&self.fd).map_err(std_error)? {
            let entry = entry.map_err(std_error)?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            let name = OsString::from_vec(name.to_vec());
            let kind = match entry.file_type() {
                // Some file systems do not say it in the list.
                FileType::Unknown => match self.kind(&name)? {
                    Some(kind) => kind,
                    None => continue,
                },
                known => kind_of(known),
            };
            entries.push(Entry { name, kind });
        }
        Ok(entries)
    }

    /// Opens a file for reading.
    ///
    /// # Errors
    /// When there is no such file, or the name is that of a link.
    pub fn read(&self, name: impl AsRef<OsStr>) -> io::Result<File> {
        let name = one_name(name.as_ref())?;
        // Opening a pipe would wait for its writer.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&self.fd, name, flags, Mode::empty()).map_err(std_error)?;
        let file = File::from(fd);
        if file.metadata()?.is_file() {
            Ok(file)
        } else {
            Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no file"))
        }
    }

    /// Makes a file, which must not exist, for writing.
    ///
    /// # Errors
    /// When it exists already, or cannot be made.
    pub fn create(&self, name: impl AsRef<OsStr>) -> io::Result<File> {
        let name = one_name(name.as_ref())?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&self.fd, name, flags, FILE).map_err(std_error)?;
        Ok(File::from(fd))
    }

    pub(crate) fn inode(&self) -> io::Result<u64> {
        Ok(rustix::fs::fstat(&self.fd).map_err(std_error)?.st_ino)
    }

    /// When it was made, in nanoseconds; 0 where the file system does not say it.
    #[cfg(target_os = "linux")]
    pub(crate) fn born(&self) -> io::Result<i128> {
        use rustix::fs::StatxFlags;

        let (flags, wanted) = (AtFlags::EMPTY_PATH, StatxFlags::BTIME);
        let found = match rustix::fs::statx(&self.fd, c"", flags, wanted) {
            Ok(found) => found,
            Err(rustix::io::Errno::NOSYS) => return Ok(0),
            Err(error) => return Err(error.into()),
        };
        if found.stx_mask & StatxFlags::BTIME.bits() == 0 {
            return Ok(0);
        }
        let born = found.stx_btime;
        Ok(i128::from(born.tv_sec) * 1_000_000_000 + i128::from(born.tv_nsec))
    }

    /// When it was made, in nanoseconds; 0 where the file system does not say it.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn born(&self) -> io::Result<i128> {
        Ok(0)
    }

    /// Waits until the names in this folder are on the disk.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn sync(&self) -> io::Result<()> {
        rustix::fs::fsync(&self.fd).map_err(std_error)
    }

    /// Renames an entry. Nothing is replaced.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] when there is no such entry, [`io::ErrorKind::AlreadyExists`] when something has the
    /// new name.
    pub fn rename(&self, from: impl AsRef<OsStr>, to: impl AsRef<OsStr>) -> io::Result<()> {
        self.rename_with(from.as_ref(), to.as_ref(), RenameFlags::NOREPLACE)
    }

    /// Lets two entries exchange their names.
    ///
    /// # Errors
    /// When one of them does not exist.
    pub fn exchange(&self, one: impl AsRef<OsStr>, other: impl AsRef<OsStr>) -> io::Result<()> {
        self.rename_with(one.as_ref(), other.as_ref(), RenameFlags::EXCHANGE)
    }

    fn rename_with(&self, from: &OsStr, to: &OsStr, flags: RenameFlags) -> io::Result<()> {
        let (from, to) = (one_name(from)?, one_name(to)?);
        rustix::fs::renameat_with(&self.fd, from, &self.fd, to, flags).map_err(std_error)
    }

    /// Removes a file or a link. Returns whether there was one.
    ///
    /// # Errors
    /// When it cannot be removed, or is a folder.
    pub fn remove_file(&self, name: impl AsRef<OsStr>) -> io::Result<bool> {
        self.unlink(name.as_ref(), AtFlags::empty())
    }

    /// Removes an empty folder. Returns whether there was one.
    ///
    /// # Errors
    /// When it cannot be removed: it is not empty, or no folder.
    pub fn remove_empty(&self, name: impl AsRef<OsStr>) -> io::Result<bool> {
        self.unlink(name.as_ref(), AtFlags::REMOVEDIR)
    }

    fn unlink(&self, name: &OsStr, flags: AtFlags) -> io::Result<bool> {
        match rustix::fs::unlinkat(&self.fd, one_name(name)?, flags) {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::NOENT) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

fn kind_of(file_type: FileType) -> Kind {
    match file_type {
        FileType::Directory => Kind::Folder,
        FileType::RegularFile => Kind::File,
        _ => Kind::Other,
    }
}

/// Refuses what is more than the name of an entry.
fn one_name(name: &OsStr) -> io::Result<&OsStr> {
    match name.as_bytes() {
        b"" | b"." | b".." => Err(no_name()),
        bytes if bytes.contains(&b'/') || bytes.contains(&0) => Err(no_name()),
        _ => Ok(name),
    }
}

fn no_name() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        "it is no name of a file or folder",
    )
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use std::{
        fs,
        io::ErrorKind,
        os::unix::fs::{PermissionsExt as _, symlink},
    };

    use super::{Folder, Kind};

    #[test]
    fn no_link_is_followed_and_no_name_leads_out() {
        let place = tempfile::tempdir().unwrap();
        fs::create_dir_all(place.path().join("outside/deep")).unwrap();
        fs::write(place.path().join("outside/secret"), "s").unwrap();
        fs::create_dir(place.path().join("in")).unwrap();
        symlink("../outside", place.path().join("in/link")).unwrap();
        symlink("../outside/secret", place.path().join("in/file")).unwrap();
        let folder = Folder::open(&place.path().join("in")).unwrap();
        assert!(folder.enter("link").is_err());
        assert!(folder.make("link").is_err());
        assert!(folder.make_all(["link", "deep"]).is_err());
        assert!(folder.read("file").is_err());
        assert!(folder.create("file").is_err());
        assert_eq!(folder.kind("link").unwrap(), Some(Kind::Other));
        for bad in ["", ".", "..", "../outside", "/etc", "a/b"] {
            let refused = folder.enter(bad).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::InvalidInput, "{bad:?}");
            assert!(folder.make(bad).is_err() && folder.create(bad).is_err());
        }
    }

    #[test]
    fn a_rename_replaces_nothing() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::open(place.path()).unwrap();
        folder.make_all(["a", "1"]).unwrap();
        folder.make("b").unwrap();
        let taken = folder.rename("a", "b").unwrap_err();
        assert_eq!(taken.kind(), ErrorKind::AlreadyExists);
        folder.exchange("a", "b").unwrap();
        assert_eq!(folder.enter("b").unwrap().entries().unwrap().len(), 1);
        assert!(folder.remove_empty("a").unwrap());
        assert!(!folder.remove_empty("a").unwrap(), "once more");
        folder.rename("b", "a").unwrap();
        let gone = folder.rename("b", "c").unwrap_err();
        assert_eq!(gone.kind(), ErrorKind::NotFound);
        let mode = fs::metadata(place.path().join("a")).unwrap().permissions();
        assert_eq!(mode.mode() & 0o700, 0o700);
    }
}
