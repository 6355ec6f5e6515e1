//! The data folder: who may use it, and the secrets that lie in it.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write as _},
    net::SocketAddr,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use service_kit::secret::{Keyring, Rule, Secret};

/// The file that the command line looks for: where the admin door is.
const ADMIN_ADDRESS: &str = "admin-address";

/// Why the data folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// It cannot be made, read or written.
    #[error("cannot use the data folder {}: {source}", path.display())]
    Unusable {
        /// What in it.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Another process has it.
    #[error("the data folder {} is in use by another hamletd", path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
    },
}

/// A data folder that is ours as long as this lives.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    _lock: File,
}

impl Folder {
    /// Makes the folder if it is missing, and takes it. The lock ends with the process, however that ends.
    ///
    /// # Errors
    /// When it cannot be written or another process has it.
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

    /// A path in the folder.
    #[must_use]
    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The secret in the file `name`; drawn and written there, for the owner's eyes only, if it is missing.
    ///
    /// # Errors
    /// When it cannot be read or written.
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

    /// The credential in the file `name`, which may be changed while it is in use; drawn as
    /// [`Folder::secret`] does if it is missing. The one before a change is accepted for `overlap` longer.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub(crate) fn keyring(&self, name: &str, overlap: Duration) -> Result<Keyring, Error> {
        self.secret(name)?;
        let path = self.join(name);
        Keyring::open(&path, overlap, Rule::Header)
            .map_err(|source| Error::Unusable { path, source })
    }

    /// The name of this installation among the replicas that share a database: drawn once, kept in the folder.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub(crate) fn replica(&self) -> Result<String, Error> {
        let drawn = self.secret("replica")?;
        Ok(drawn.expose().chars().take(12).collect())
    }

    /// Writes down where the admin door is, for the command line.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn publish_admin_address(&self, address: SocketAddr) -> Result<Published, Error> {
        let path = self.join(ADMIN_ADDRESS);
        write_private(&path, &address.to_string()).map_err(|source| Error::Unusable {
            path: path.clone(),
            source,
        })?;
        Ok(Published(path))
    }
}

/// Where the admin door of the installation in the folder `data` is, if one serves there.
pub(crate) fn published_admin_address(data: &Path) -> Option<SocketAddr> {
    let text = fs::read_to_string(data.join(ADMIN_ADDRESS)).ok()?;
    text.trim().parse().ok()
}

/// The admin door's address, written down until this is dropped.
#[derive(Debug)]
pub(crate) struct Published(PathBuf);

impl Drop for Published {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.0) {
            tracing::debug!(path = %self.0.display(), %error, "could not be removed");
        }
    }
}

/// Writes a file whole or not at all, readable by its owner only.
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
    fn a_folder_is_one_process_own() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("data");
        let folder = Folder::take(&path).unwrap();
        assert!(matches!(Folder::take(&path), Err(Error::InUse { .. })));
        drop(folder);
        assert!(Folder::take(&path).is_ok());
    }

    #[test]
    fn secrets_stay_and_are_for_their_owner() {
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
    fn the_address_is_there_only_while_it_is_served() {
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
