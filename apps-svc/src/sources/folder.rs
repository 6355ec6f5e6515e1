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

/// Reads the files of an app, except `.git`.
///
/// # Errors
/// When the folder cannot be read, a limit is exceeded, or it contains a symbolic link, which could lead anywhere.
pub(crate) async fn read(folder: PathBuf, limits: Limits) -> Result<Files, Error> {
    tokio::task::spawn_blocking(move || {
        let top = fs::canonicalize(&folder).map_err(|error| unreadable(&folder, &error))?;
        if !top.is_dir() {
            return Err(Error::Archive(format!(
                "{} is no folder; give the folder that holds the manifest",
                folder.display()
            )));
        }
        let mut files = Collector::new(limits);
        walk(&top, "", &mut files)?;
        files.finish()
    })
    .await?
}

fn walk(folder: &Path, below: &str, files: &mut Collector) -> Result<(), Error> {
    let entries = fs::read_dir(folder).map_err(|error| unreadable(folder, &error))?;
    for entry in entries {
        let entry = entry.map_err(|error| unreadable(folder, &error))?;
        let name = entry.file_name();
        if name == ".git" {
            continue;
        }
        files.count()?;
        let path = entry.path();
        let Some(name) = name.to_str() else {
            return Err(Error::Archive(format!(
                "{} has no UTF-8 name",
                path.display()
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
            .map_err(|error| unreadable(&path, &error))?;
        if kind.is_symlink() {
            return Err(Error::Archive(format!("{} is a link", path.display())));
        } else if kind.is_dir() {
            walk(&path, &inner, files)?;
        } else if kind.is_file() {
            let file = File::open(&path).map_err(|error| unreadable(&path, &error))?;
            let size = file
                .metadata()
                .map_err(|error| unreadable(&path, &error))?
                .len();
            files.add(inner, size, file)?;
        } else {
            return Err(Error::Archive(format!(
                "{} is neither a file nor a folder",
                path.display()
            )));
        }
    }
    Ok(())
}

fn unreadable(path: &Path, error: &io::Error) -> Error {
    Error::Archive(format!("{} cannot be read: {error}", path.display()))
}
