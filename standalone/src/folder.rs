//! What the data folder of an installation holds: credentials that can be replaced, and the address of the admin door.

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use process_kit::folder::{Error, Folder, write_private};
use service_kit::secret::{Keyring, Rule};

/// The file in which the command line finds the address of the admin door.
const ADMIN_ADDRESS: &str = "admin-address";

/// The credential in the file `name`, which can be replaced while in use. If the file is missing, it is created with a
/// random one. After a change, the previous credential is accepted for `overlap`.
pub(crate) fn keyring(folder: &Folder, name: &str, overlap: Duration) -> Result<Keyring, Error> {
    folder.secret(name)?;
    let path = folder.join(name);
    Keyring::open(&path, overlap, Rule::Header).map_err(|source| Error::Unusable { path, source })
}

/// Writes the address of the admin door to a file, for the command line. Without it the installation serves all the same:
/// on a full disk it has to, so that instances can be destroyed.
pub(crate) fn publish_admin_address(
    folder: &Folder,
    address: SocketAddr,
) -> Result<Published, Error> {
    let path = folder.join(ADMIN_ADDRESS);
    let text = address.to_string();
    let is_there = || fs::read_to_string(&path).is_ok_and(|found| found.trim() == text);
    let mut written = write_private(&path, &text);
    if written.as_ref().is_err_and(is_full) && !is_there() {
        // A process that was killed left another address: it is wrong now, and its room is needed.
        for old in [path.clone(), path.with_extension("unfinished")] {
            if let Err(error) = fs::remove_file(&old) {
                tracing::debug!(path = %old.display(), %error, "could not be removed");
            }
        }
        written = write_private(&path, &text);
    }
    match written {
        Ok(()) => {}
        Err(error) if is_full(&error) && is_there() => {}
        Err(error) if is_full(&error) => {
            tracing::error!(
                path = %path.display(),
                %error,
                "the disk is full: commands find the admin door by --server {address} and --credential-file only"
            );
        }
        Err(source) => return Err(Error::Unusable { path, source }),
    }
    Ok(Published(path))
}

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
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

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use process_kit::folder::Folder;

    use super::publish_admin_address;

    #[test]
    fn the_address_file_exists_only_while_the_door_is_served() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::take(place.path()).unwrap();
        let published = publish_admin_address(&folder, ([127, 0, 0, 1], 6060).into()).unwrap();
        let path = folder.join("admin-address");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "127.0.0.1:6060\n");
        drop(published);
        assert!(!path.exists());
    }
}
