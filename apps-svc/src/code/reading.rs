//! Reads the code of an app that other software has installed.

use std::{
    fs::File,
    io::{BufReader, Read},
};

use file_store::{Folder, Kind};
use flate2::read::GzDecoder;

use super::{Place, existing};
use crate::{
    archive::{Collector, Files, Limits},
    domain::{path, version_folder::VersionFolder},
    error::Error,
};

/// How much is unpacked at once, in bytes.
const BUFFER: usize = 64 * 1024;

impl Place {
    /// The files of a version, unpacked. `None` when they are not on the store.
    ///
    /// # Errors
    /// When they cannot be read, or are more than an app may have.
    pub(crate) async fn read(
        self,
        version: VersionFolder,
        limits: Limits,
    ) -> Result<Option<Files>, Error> {
        tokio::task::spawn_blocking(move || self.read_all(&version, limits)).await?
    }

    fn read_all(&self, version: &VersionFolder, limits: Limits) -> Result<Option<Files>, Error> {
        let Some(domain) = self.domain().map_err(Error::FileStore)? else {
            return Ok(None);
        };
        let folder = domain.enter_all([self.kind(), &self.slug, &version.name]);
        let Some(folder) = existing(folder).map_err(Error::FileStore)? else {
            return Ok(None);
        };
        let mut files = Collector::new(limits);
        collect(&folder, "", &mut files)?;
        files.finish().map(Some)
    }
}

/// Reads a folder and what is below it. Links are passed over: they lead anywhere.
fn collect(folder: &Folder, above: &str, files: &mut Collector) -> Result<(), Error> {
    for entry in folder.entries().map_err(Error::FileStore)? {
        files.count()?;
        let Some(name) = entry.name.to_str() else {
            return Err(Error::Archive("a name is not UTF-8".to_owned()));
        };
        // A name is checked with all that is above it, so folders have an end.
        let path = path::plain(format!("{above}{name}").as_bytes()).map_err(Error::Archive)?;
        match entry.kind {
            Kind::Folder => {
                let below = folder.enter(name).map_err(Error::FileStore)?;
                collect(&below, &format!("{path}/"), files)?;
            }
            Kind::File => {
                let file = folder.read(name).map_err(Error::FileStore)?;
                add(&path, file, files)?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// Adds a file under the name that it has in the app.
fn add(path: &str, file: File, files: &mut Collector) -> Result<(), Error> {
    let (name, content): (&str, Box<dyn Read>) = if let Some(name) = path.strip_suffix(".br") {
        (name, Box::new(brotli::Decompressor::new(file, BUFFER)))
    } else if let Some(name) = path.strip_suffix(".gz") {
        (name, Box::new(GzDecoder::new(BufReader::new(file))))
    } else {
        (path, Box::new(file))
    };
    // How much it unpacks to is seen while it is read.
    files.add(name.to_owned(), 0, content)
}
