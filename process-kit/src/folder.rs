//! Folders that one process at a time uses, and the modes of what is made in them.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use rustix::{fs::Mode, process::umask};
use secret::Secret;

/// How many processes may share a folder of slots.
const MOST_SLOTS: usize = 256;

/// Makes every file and folder of this process private from now on: 0600 and 0700, whatever the umask was.
pub fn keep_files_private() {
    umask(Mode::RWXG | Mode::RWXO);
}

/// Why a folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or folder cannot be created, read or written.
    #[error("cannot use {}: {source}", path.display())]
    Unusable {
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Another process uses the folder.
    #[error("the folder {} is in use by another process", path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// As many processes use the folder as can.
    #[error("{MOST_SLOTS} processes use the folder {}; give this one another folder", path.display())]
    Full {
        /// The folder.
        path: PathBuf,
    },
}

/// A folder that is locked as long as this value lives. The lock ends with the process, even when it is killed.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    lock: File,
}

impl Folder {
    /// Makes the folder if it is missing, and locks it. Warns of a folder that other users may enter.
    ///
    /// # Errors
    /// [`Error::InUse`] when another process holds the lock.
    pub fn take(path: &Path) -> Result<Self, Error> {
        make(path)?;
        let folder = Self::lock(path)?.ok_or_else(|| Error::InUse {
            path: path.to_owned(),
        })?;
        warn_if_open(&folder.path)?;
        Ok(folder)
    }

    /// Locks the first free slot of a folder that several processes of one machine share. Whoever has a slot knows
    /// that the process that had it before is dead.
    ///
    /// # Errors
    /// [`Error::Full`] when there is no free slot.
    pub fn take_slot(path: &Path) -> Result<Self, Error> {
        make(path)?;
        for slot in 0..MOST_SLOTS {
            let slot = path.join(slot.to_string());
            make(&slot)?;
            if let Some(folder) = Self::lock(&slot)? {
                warn_if_open(path)?;
                return Ok(folder);
            }
        }
        Err(Error::Full {
            path: path.to_owned(),
        })
    }

    /// `None` when another process holds the lock.
    fn lock(path: &Path) -> Result<Option<Self>, Error> {
        let lock_path = path.join("lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&lock_path)
            .map_err(unusable(&lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(source)) => return Err(unusable(&lock_path)(source)),
        }
        let path = path.canonicalize().map_err(unusable(path))?;
        Ok(Some(Self { path, lock }))
    }

    /// A path below the folder.
    #[must_use]
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The secret in the file `name`. If the file is missing, it is created with a random secret that only its owner
    /// can read.
    ///
    /// # Errors
    /// When the file cannot be read or made.
    pub fn secret(&self, name: &str) -> Result<Secret, Error> {
        let path = self.join(name);
        match Secret::from_file(&path) {
            Ok(secret) => {
                // Whoever wrote the file did not mean others to read it.
                if let Err(error) = make_private(&path) {
                    tracing::warn!(path = %path.display(), %error, "others may read the secret in this file");
                }
                Ok(secret)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let secret = Secret::random().map_err(unusable(&path))?;
                write_private(&path, secret.expose()).map_err(unusable(&path))?;
                Ok(secret)
            }
            Err(error) => Err(unusable(&path)(error)),
        }
    }

    /// The name of the process that holds this folder among those that share a database: random, drawn once, kept in
    /// the folder. A copy of the folder gets another name. A clone of the whole disk gets one where the machine has another
    /// `/etc/machine-id`; clones with the same one must not share a database.
    ///
    /// # Errors
    /// When the name cannot be read or written.
    pub fn replica(&self) -> Result<String, Error> {
        let path = self.join("replica");
        let meta = self.lock.metadata().map_err(unusable(&path))?;
        // Containers may have none.
        let machine = fs::read_to_string("/etc/machine-id").unwrap_or_default();
        let here = format!("{}:{}:{}", meta.dev(), meta.ino(), machine.trim());
        let known = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(unusable(&path)(error)),
        };
        let mut words = known.split_whitespace();
        let name = match (words.next(), words.next()) {
            (Some(name), Some(place)) if place == here => return Ok(short(name)),
            // Version 0.1.0 kept no place.
            (Some(name), None) => name.to_owned(),
            _ => {
                let drawn = Secret::random().map_err(unusable(&path))?;
                drawn.expose().to_owned()
            }
        };
        write_private(&path, &format!("{name} {here}")).map_err(unusable(&path))?;
        Ok(short(&name))
    }
}

fn short(name: &str) -> String {
    name.chars().take(12).collect()
}

fn unusable(path: &Path) -> impl Fn(io::Error) -> Error + use<> {
    let path = path.to_owned();
    move |source| Error::Unusable {
        path: path.clone(),
        source,
    }
}

/// Makes a folder that only its owner may enter; warns of one that others may enter.
///
/// # Errors
/// When it cannot be made, or its mode cannot be read.
pub fn make_folder(path: &Path) -> Result<(), Error> {
    make(path)?;
    warn_if_open(path)
}

fn make(path: &Path) -> Result<(), Error> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(unusable(path))
}

/// Warns of a folder that other users of the machine may enter.
///
/// # Errors
/// When its mode cannot be read.
pub fn warn_if_open(path: &Path) -> Result<(), Error> {
    let mode = fs::metadata(path).map_err(unusable(path))?.mode();
    if mode & 0o077 != 0 {
        tracing::warn!(
            folder = %path.display(),
            mode = format!("{:03o}", mode & 0o777),
            "other users of this machine may enter the folder, whose files are for nobody else: chmod 700"
        );
    }
    Ok(())
}

/// Takes the rights of other users from a file, if it exists.
///
/// # Errors
/// When its mode cannot be read or changed.
pub fn make_private(path: &Path) -> io::Result<()> {
    let mode = match fs::metadata(path) {
        Ok(found) => found.mode(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if mode & 0o077 == 0 {
        return Ok(());
    }
    let private = std::os::unix::fs::PermissionsExt::from_mode(mode & 0o700);
    fs::set_permissions(path, private)
}

/// Reads the path of a folder that exists, for a flag.
///
/// # Errors
/// When there is none.
pub fn existing(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    match fs::metadata(&path) {
        Ok(found) if found.is_dir() => Ok(path),
        Ok(_) => Err("it is no folder; give a folder that exists".to_owned()),
        Err(error) => Err(format!("{error}; give a folder that exists")),
    }
}

/// Writes a line to a file atomically, readable by its owner only.
///
/// # Errors
/// When the file cannot be written.
pub fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let unfinished = path.with_extension("unfinished");
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&unfinished)?;
    file.write_all(text.as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    fs::rename(unfinished, path)
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::{Error, Folder, make_private};

    #[test]
    fn a_folder_is_locked_by_one_process() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("data");
        let folder = Folder::take(&path).unwrap();
        assert!(matches!(Folder::take(&path), Err(Error::InUse { .. })));
        drop(folder);
        assert!(Folder::take(&path).is_ok());
    }

    #[test]
    fn each_process_has_a_slot_and_a_name_of_its_own() {
        let place = tempfile::tempdir().unwrap();
        let (one, two) = (
            Folder::take_slot(place.path()).unwrap(),
            Folder::take_slot(place.path()).unwrap(),
        );
        let (first, second) = (one.replica().unwrap(), two.replica().unwrap());
        assert_ne!(first, second);
        drop(one);
        let again = Folder::take_slot(place.path()).unwrap();
        assert_eq!(again.replica().unwrap(), first);
    }

    #[test]
    fn a_copied_folder_has_another_name() {
        let place = tempfile::tempdir().unwrap();
        let one = Folder::take(&place.path().join("one")).unwrap();
        let name = one.replica().unwrap();
        let two = Folder::take(&place.path().join("two")).unwrap();
        fs::copy(one.join("replica"), two.join("replica")).unwrap();
        assert_ne!(two.replica().unwrap(), name);
        assert_eq!(one.replica().unwrap(), name);
        fs::write(two.join("replica"), "0123456789abcdef\n").unwrap();
        assert_eq!(two.replica().unwrap(), "0123456789ab");
        assert_eq!(two.replica().unwrap(), "0123456789ab");
    }

    #[test]
    fn secrets_persist_and_only_their_owner_can_read_them() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::take(place.path()).unwrap();
        let drawn = folder.secret("key").unwrap();
        assert!(folder.secret("key").unwrap().matches(drawn.expose()));
        let mode = |name| {
            let found = fs::metadata(folder.join(name)).unwrap();
            found.permissions().mode() & 0o777
        };
        assert_eq!(mode("key"), 0o600);
        let open = folder.join("open");
        fs::write(&open, "").unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o644)).unwrap();
        make_private(&open).unwrap();
        assert_eq!(mode("open"), 0o600);
        make_private(&folder.join("missing")).unwrap();
        let secret = folder.secret("secret").unwrap();
        let path = folder.join("secret");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(folder.secret("secret").unwrap().expose(), secret.expose());
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }
}
