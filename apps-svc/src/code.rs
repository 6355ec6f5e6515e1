//! The code of apps on file stores that other software uses, too, in the form in which that software looks for it:
//! `DOMAIN/.cozy_apps/SLUG/VERSION-CHECKSUM/FILE.br`, for each instance apart. It is written aside, as `SLUG/tmpNNN`, and
//! renamed when it is complete.
//!
//! The folder of the domain belongs to the files service, which makes it and removes it with all that is in it. An
//! instance that has no such folder does not lie on the store, and its apps do not either.

mod reading;

use std::{io, path::PathBuf};

use brotli::enc::BrotliEncoderParams;
use file_store::{APPS, Folder, KONNECTORS, Kind};
use hamlet_proto::hamlet::instance::v1::Tenant;
use service_kit::contexts::Contexts;

use crate::{
    archive::Files,
    domain::{
        app_type::AppType,
        version_folder::{ASIDE, VersionFolder},
    },
    error::Error,
};

/// How well code is compressed. The best of all, 11, takes much longer, and people wait for an installation.
const QUALITY: i32 = 9;

/// The file stores of the contexts. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Code {
    contexts: Contexts,
}

/// The code of one app of one instance.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    root: PathBuf,
    domain: String,
    kind: AppType,
    slug: String,
}

impl Code {
    /// The file stores of these contexts.
    pub(crate) const fn new(contexts: Contexts) -> Self {
        Self { contexts }
    }

    /// Where the code of an app lies; `None` when the context of the instance has no file store.
    pub(crate) fn place(&self, tenant: &Tenant, kind: AppType, slug: &str) -> Option<Place> {
        let root = self.contexts.get(&tenant.context).storage?;
        Some(Place {
            root,
            domain: file_store::folder_name(&tenant.domain)?.to_owned(),
            kind,
            slug: slug.to_owned(),
        })
    }
}

impl Place {
    /// Writes the code of a version. What is there under a checksum is the same, and is kept. Idempotent.
    ///
    /// # Errors
    /// When the file store fails. Nothing of the version is then visible.
    pub(crate) async fn write(self, version: VersionFolder, files: Files) -> Result<(), Error> {
        blocking(move || self.write_all(&version, &files)).await
    }

    /// The folders of all versions, and of those that are not complete. `None` when the instance does not lie on the
    /// store.
    ///
    /// # Errors
    /// When the file store fails.
    pub(crate) async fn versions(self) -> Result<Option<Vec<String>>, Error> {
        blocking(move || {
            let Some(domain) = self.domain()? else {
                return Ok(None);
            };
            let entries = match existing(domain.enter_all([self.kind(), &self.slug]))? {
                Some(folder) => folder.entries()?,
                None => Vec::new(),
            };
            let names = entries.into_iter().map(|it| it.name.into_string());
            // Other names are those of no version.
            Ok(Some(names.flatten().collect()))
        })
        .await
    }

    /// Removes folders of versions, and the folder of the app with the last one. Idempotent.
    ///
    /// # Errors
    /// When the file store fails. Some may then be gone.
    pub(crate) async fn remove(self, versions: Vec<String>) -> Result<(), Error> {
        blocking(move || self.remove_all(&versions)).await
    }

    /// The folder of the domain; `None` when the instance does not lie on the store.
    fn domain(&self) -> io::Result<Option<Folder>> {
        existing(Folder::open(&self.root)?.enter(&self.domain))
    }

    const fn kind(&self) -> &'static str {
        match self.kind {
            AppType::Webapp => APPS,
            AppType::Konnector => KONNECTORS,
        }
    }

    fn write_all(&self, version: &VersionFolder, files: &Files) -> io::Result<()> {
        let Some(domain) = self.domain()? else {
            tracing::debug!(
                domain = self.domain,
                slug = self.slug,
                "the instance has no folder on the file store, so its apps have none"
            );
            return Ok(());
        };
        let app = domain.make_all([self.kind(), &self.slug])?;
        if version.is_certain && app.kind(&version.name)? == Some(Kind::Folder) {
            return Ok(());
        }
        let aside = aside();
        let written = publish(&app, &aside, version, files);
        // On success this is empty, or holds what was there before.
        let cleared = app.remove_all(&aside);
        written?;
        cleared?;
        app.sync()
    }

    fn remove_all(&self, versions: &[String]) -> io::Result<()> {
        let Some(domain) = self.domain()? else {
            return Ok(());
        };
        let Some(apps) = existing(domain.enter(self.kind()))? else {
            return Ok(());
        };
        let Some(app) = existing(apps.enter(&self.slug))? else {
            return Ok(());
        };
        for version in versions {
            let aside = aside();
            // A version disappears at once, and not file by file.
            if existing(app.rename(version, &aside))?.is_some() {
                app.remove_all(&aside)?;
            }
        }
        match apps.remove_empty(&self.slug) {
            Err(error) if error.kind() != io::ErrorKind::DirectoryNotEmpty => Err(error),
            _ => Ok(()),
        }
    }
}

/// A name for what is not complete. Nobody else draws the same one.
fn aside() -> String {
    format!("{ASIDE}{}", fastrand::u64(..))
}

fn publish(app: &Folder, aside: &str, version: &VersionFolder, files: &Files) -> io::Result<()> {
    let folder = app.make(aside)?;
    for (path, content) in files {
        let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
        let folder = folder.make_all(above.split('/').filter(|name| !name.is_empty()))?;
        let mut file = folder.create(format!("{name}.br"))?;
        compress(content, &mut file)?;
        file.sync_data()?;
    }
    match app.rename(aside, &version.name) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            if version.is_certain {
                Ok(())
            } else {
                app.exchange(aside, &version.name)
            }
        }
        renamed => renamed,
    }
}

fn compress(content: &[u8], into: &mut impl io::Write) -> io::Result<()> {
    let parameters = BrotliEncoderParams {
        quality: QUALITY,
        size_hint: content.len(),
        ..BrotliEncoderParams::default()
    };
    brotli::BrotliCompress(&mut &*content, into, &parameters).map(drop)
}

fn existing<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Runs what waits for a disk.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work)
        .await?
        .map_err(Error::FileStore)
}
