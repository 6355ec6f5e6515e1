//! Apps in a folder of the server.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use crate::{
    archive::{Collector, Files, Limits},
    domain::path,
    error::Error,
};

/// Reads the files of an app below one of these folders, except `.git`. A message names files by their path in the app:
/// it tells nothing of the server's other files.
///
/// # Errors
/// When the folder is not below one of `roots`, it cannot be read, a limit is exceeded, or it contains a symbolic link,
/// which could lead anywhere.
pub(crate) async fn read(
    folder: PathBuf,
    roots: Vec<PathBuf>,
    limits: Limits,
) -> Result<Files, Error> {
    tokio::task::spawn_blocking(move || {
        let outside = || Error::Field {
            field: "source",
            wrong: "is in none of the folders that the configuration allows (--app-roots); put the app into one, or \
                    give a registry or an address"
                .to_owned(),
        };
        let is_allowed = |path: &Path| {
            let mut real = roots.iter().filter_map(|root| fs::canonicalize(root).ok());
            real.any(|root| path.starts_with(root))
        };
        let top = match fs::canonicalize(&folder) {
            Ok(top) if is_allowed(&top) => top,
            // Whether a folder outside exists is not told: a link may lead there, so the nearest folder decides that
            // does exist.
            Err(error) if nearest(&folder).is_some_and(|it| is_allowed(&it)) => {
                return Err(Error::Field {
                    field: "source",
                    wrong: format!(
                        "the folder cannot be read: {}; give one of the server's that holds an app",
                        error.kind()
                    ),
                });
            }
            Ok(_) | Err(_) => return Err(outside()),
        };
        if !top.is_dir() {
            return Err(Error::Archive(
                "it is no folder; give the folder that holds the manifest".to_owned(),
            ));
        }
        let mut files = Collector::new(limits);
        walk(&top, "", &mut files)?;
        files.finish()
    })
    .await?
}

/// The nearest folder above a path that exists and can be reached, without links. Where a link leads nowhere, there is
/// none.
fn nearest(path: &Path) -> Option<PathBuf> {
    for above in path.ancestors() {
        if let Ok(real) = fs::canonicalize(above) {
            return Some(real);
        }
        if fs::symlink_metadata(above).is_ok_and(|found| found.is_symlink()) {
            return None;
        }
    }
    None
}

fn walk(folder: &Path, below: &str, files: &mut Collector) -> Result<(), Error> {
    let here = if below.is_empty() {
        "the folder"
    } else {
        below
    };
    let entries = fs::read_dir(folder).map_err(|error| unreadable(here, &error))?;
    for entry in entries {
        let entry = entry.map_err(|error| unreadable(here, &error))?;
        let name = entry.file_name();
        if name == ".git" {
            continue;
        }
        files.count()?;
        let path = entry.path();
        let Some(name) = name.to_str() else {
            return Err(Error::Archive(format!(
                "{here} holds a file without a UTF-8 name"
            )));
        };
        let inner = if below.is_empty() {
            name.to_owned()
        } else {
            format!("{below}/{name}")
        };
        let inner = path::plain(inner.as_bytes()).map_err(Error::Archive)?;
        // This is the type of the entry itself, not of a link's target.
        let kind = entry
            .file_type()
            .map_err(|error| unreadable(&inner, &error))?;
        if kind.is_symlink() {
            return Err(Error::Archive(format!("{inner} is a link")));
        } else if kind.is_dir() {
            walk(&path, &inner, files)?;
        } else if kind.is_file() {
            let file = File::open(&path).map_err(|error| unreadable(&inner, &error))?;
            let size = file
                .metadata()
                .map_err(|error| unreadable(&inner, &error))?
                .len();
            files.add(inner, size, file)?;
        } else {
            return Err(Error::Archive(format!(
                "{inner} is neither a file nor a folder"
            )));
        }
    }
    Ok(())
}

fn unreadable(what: &str, error: &io::Error) -> Error {
    Error::Archive(format!("{what} cannot be read: {}", error.kind()))
}
