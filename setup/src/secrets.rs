//! Secrets in files: created and replaced atomically, never printed.

use std::{
    fs::File,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use secret::Secret;
use tempfile::NamedTempFile;

/// Why a secret cannot be provided.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The file exists but is not usable.
    #[error(
        "{}: the secret cannot be read; it has to belong to the user that the services run as",
        path.display()
    )]
    Unreadable { path: PathBuf, source: io::Error },
    /// The file cannot be created.
    #[error(
        "{}: the secret cannot be made; its folder has to exist and to belong to the user that the services run as",
        path.display()
    )]
    Unwritable { path: PathBuf, source: io::Error },
    /// The system's random number generator failed.
    #[error("the system gives no random numbers")]
    Randomness(#[source] io::Error),
}

/// Creates those of `files` that are missing. Returns one line per file that says what was done.
///
/// A file is created atomically, with the mode 0600. When two processes create it at the same time, one of them wins
/// and both use its secret.
///
/// # Errors
/// When one of the files can be neither read nor created.
pub(crate) fn make_missing(files: &[PathBuf]) -> Result<Vec<String>, Error> {
    files
        .iter()
        .map(|path| {
            let shown = path.display();
            if make(path)? {
                Ok(format!("{shown}: made"))
            } else {
                Ok(format!("{shown}: kept"))
            }
        })
        .collect()
}

/// Replaces the secret in each file. Returns one line per file.
///
/// # Errors
/// When a file is missing or cannot be replaced.
pub(crate) fn renew(files: &[PathBuf]) -> Result<Vec<String>, Error> {
    files
        .iter()
        .map(|path| {
            Secret::from_file(path).map_err(|source| Error::Unreadable {
                path: path.clone(),
                source,
            })?;
            replace(path, &[&Secret::random().map_err(Error::Randomness)?])?;
            Ok(format!("{}: renewed", path.display()))
        })
        .collect()
}

/// Replaces the content of the file with these secrets, one per line.
///
/// # Errors
/// When the file cannot be replaced. It is unchanged then.
pub(crate) fn replace(path: &Path, secrets: &[&Secret]) -> Result<(), Error> {
    write(path, secrets)
        .and_then(|file| file.persist(path).map_err(|error| error.error))
        .and_then(|_| sync_folder(path))
        .map_err(|source| Error::Unwritable {
            path: path.to_owned(),
            source,
        })
}

/// Creates the file. Returns whether it was missing.
fn make(path: &Path) -> Result<bool, Error> {
    match Secret::from_file(path) {
        Ok(_) => return Ok(false),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(source) => {
            return Err(Error::Unreadable {
                path: path.to_owned(),
                source,
            });
        }
    }
    let secret = Secret::random().map_err(Error::Randomness)?;
    let made = write(path, &[&secret])
        .and_then(|file| file.persist_noclobber(path).map_err(|error| error.error))
        .and_then(|_| sync_folder(path));
    match made {
        Ok(()) => Ok(true),
        // Another process has created the file in the meantime. Its secret is used, if it is valid.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => match Secret::from_file(path)
        {
            Ok(_) => Ok(false),
            Err(source) => Err(Error::Unreadable {
                path: path.to_owned(),
                source,
            }),
        },
        Err(source) => Err(Error::Unwritable {
            path: path.to_owned(),
            source,
        }),
    }
}

/// Writes secrets to a temporary file beside `path` that only its owner can read from the start.
fn write(path: &Path, secrets: &[&Secret]) -> io::Result<NamedTempFile> {
    let mut file = tempfile::Builder::new()
        .prefix(".new-secret-")
        .tempfile_in(folder_of(path))?;
    for secret in secrets {
        writeln!(file, "{}", secret.expose())?;
    }
    file.as_file().sync_all()?;
    Ok(file)
}

/// Makes a new file name survive a power failure. If a key were lost, everything encrypted with it would be lost.
fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(folder_of(path))?.sync_all()
}

fn folder_of(path: &Path) -> &Path {
    path.parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use std::{collections::HashSet, fs, os::unix::fs::PermissionsExt as _, thread};

    use super::{make_missing, renew};

    #[test]
    fn a_secret_is_created_once_and_only_its_owner_can_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let files = [folder.path().join("a"), folder.path().join("b")];
        let first = make_missing(&files).unwrap();
        assert!(first.iter().all(|line| line.ends_with(": made")));
        let made: Vec<_> = files
            .iter()
            .map(|file| fs::read_to_string(file).unwrap())
            .collect();
        let distinct: HashSet<_> = made.iter().collect();
        assert_eq!(distinct.len(), 2, "two files hold two secrets");
        assert!(made.iter().all(|secret| secret.trim().len() == 64));
        for file in &files {
            let mode = fs::metadata(file).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{}", file.display());
        }

        let second = make_missing(&files).unwrap();
        assert!(second.iter().all(|line| line.ends_with(": kept")));
        for (file, secret) in files.iter().zip(&made) {
            assert_eq!(&fs::read_to_string(file).unwrap(), secret);
        }
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            2,
            "nothing else is left in the folder"
        );
        let shown = format!("{first:?}{second:?}");
        assert!(made.iter().all(|secret| !shown.contains(secret.trim())));
    }

    #[test]
    fn a_renewed_secret_is_another_one() {
        let folder = tempfile::tempdir().unwrap();
        let file = [folder.path().join("key")];
        assert!(renew(&file).is_err(), "there is nothing to renew");
        make_missing(&file).unwrap();
        let before = fs::read_to_string(folder.path().join("key")).unwrap();
        renew(&file).unwrap();
        let after = fs::read_to_string(folder.path().join("key")).unwrap();
        assert_ne!(before, after);
        assert_eq!(after.lines().count(), 1);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn concurrent_runs_agree_on_one_secret() {
        let folder = tempfile::tempdir().unwrap();
        let file = [folder.path().join("key")];
        let makers: usize = thread::scope(|scope| {
            let running: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| make_missing(&file).unwrap()))
                .collect();
            running
                .into_iter()
                .map(|one| one.join().unwrap())
                .filter(|lines| lines.iter().any(|line| line.ends_with(": made")))
                .count()
        });
        assert_eq!(makers, 1);
    }

    #[test]
    fn errors_say_what_failed() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("nowhere/key");
        let error = make_missing(std::slice::from_ref(&missing)).unwrap_err();
        assert!(error.to_string().contains(missing.to_str().unwrap()));
        assert!(error.to_string().contains("cannot be made"), "{error}");

        let empty = folder.path().join("empty");
        fs::write(&empty, "\n").unwrap();
        let error = make_missing(&[empty]).unwrap_err();
        assert!(error.to_string().contains("cannot be read"), "{error}");
    }
}
