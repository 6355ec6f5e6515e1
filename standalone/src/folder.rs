//! The data folder: its lock, and the secrets stored in it.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write as _},
    net::SocketAddr,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use service_kit::secret::{Keyring, Rule, Secret};

/// The file in which the command line finds the address of the admin door.
const ADMIN_ADDRESS: &str = "admin-address";

/// Why the data folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A file or folder cannot be created, read or written.
    #[error("cannot use the data folder {}: {source}", path.display())]
    Unusable {
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Another process uses the folder.
    #[error("the data folder {} is in use by another hamletd", path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
    },
}

/// A data folder, locked as long as this value lives.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    _lock: File,
}

impl Folder {
    /// Creates the folder if it is missing, and locks it. The lock ends with the process, even when it crashes.
    ///
    /// # Errors
    /// [`Error::InUse`] when another process holds the lock.
    pub(crate) fn take(path: &Path) -> Result<Self, Error> {
        let unusable = |path: &Path| {
            let path = path.to_owned();
            move |source| Error::Unusable { path, source }
        };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(unusable(path))?;
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
            Err(TryLockError::WouldBlock) => {
                return Err(Error::InUse {
                    path: path.to_owned(),
                });
            }
            Err(TryLockError::Error(source)) => {
                return Err(Error::Unusable {
                    path: lock_path,
                    source,
                });
            }
        }
        let path = path.canonicalize().map_err(unusable(path))?;
        Ok(Self { path, _lock: lock })
    }

    /// A path below the folder.
    #[must_use]
    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The secret in the file `name`. If the file is missing, it is created with a random secret that only its owner
    /// can read.
    pub(crate) fn secret(&self, name: &str) -> Result<Secret, Error> {
        let path = self.join(name);
        let unusable = |source| Error::Unusable {
            path: path.clone(),
            source,
        };
        match Secret::from_file(&path) {
            Ok(secret) => Ok(secret),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let secret = Secret::random().map_err(unusable)?;
                write_private(&path, secret.expose()).map_err(unusable)?;
                Ok(secret)
            }
            Err(error) => Err(unusable(error)),
        }
    }

    /// The credential in the file `name`, which can be replaced while in use. If the file is missing, it is created as
    /// by [`Folder::secret`]. After a change, the previous credential is accepted for `overlap`.
    pub(crate) fn keyring(&self, name: &str, overlap: Duration) -> Result<Keyring, Error> {
        self.secret(name)?;
        let path = self.join(name);
        Keyring::open(&path, overlap, Rule::Header)
            .map_err(|source| Error::Unusable { path, source })
    }

    /// The name of this installation among the replicas that share a database: random, generated once, stored in the
    /// folder.
    pub(crate) fn replica(&self) -> Result<String, Error> {
        let drawn = self.secret("replica")?;
        Ok(drawn.expose().chars().take(12).collect())
    }

    /// Writes the address of the admin door to a file, for the command line.
    pub(crate) fn publish_admin_address(&self, address: SocketAddr) -> Result<Published, Error> {
        let path = self.join(ADMIN_ADDRESS);
        write_private(&path, &address.to_string()).map_err(|source| Error::Unusable {
            path: path.clone(),
            source,
        })?;
        Ok(Published(path))
    }
}

/// The address of the admin door of the running installation in the folder `data`; `None` when none is running.
pub(crate) fn published_admin_address(data: &Path) -> Option<SocketAddr> {
    let text = fs::read_to_string(data.join(ADMIN_ADDRESS)).ok()?;
    text.trim().parse().ok()
}

/// The file with the admin door's address. Dropping this value removes it.
#[derive(Debug)]
pub(crate) struct Published(PathBuf);

impl Drop for Published {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.0) {
            tracing::debug!(path = %self.0.display(), %error, "could not be removed");
        }
    }
}

/// Writes a file atomically, readable by its owner only.
fn write_private(path: &Path, text: &str) -> io::Result<()> {
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

    use std::os::unix::fs::PermissionsExt as _;

    use super::{Error, Folder};

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
    fn secrets_persist_and_only_their_owner_can_read_them() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::take(place.path()).unwrap();
        let drawn = folder.secret("key").unwrap();
        assert!(folder.secret("key").unwrap().matches(drawn.expose()));
        let mode = std::fs::metadata(folder.join("key"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn the_address_file_exists_only_while_the_door_is_served() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::take(place.path()).unwrap();
        let published = folder
            .publish_admin_address(([127, 0, 0, 1], 6060).into())
            .unwrap();
        let path = folder.join("admin-address");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "127.0.0.1:6060\n");
        drop(published);
        assert!(!path.exists());
    }
}
