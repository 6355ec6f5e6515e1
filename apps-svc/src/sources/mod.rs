//! Fetches apps from their sources and validates them.

mod address;
mod download;
mod folder;
mod registry;

use std::path::PathBuf;

use service_kit::contexts::Contexts;
use url::Url;

use crate::{
    archive::{Files, Limits},
    domain::{
        app_type::AppType,
        manifest::Manifest,
        source::{RegistryApp, Source, WebArchive},
        version::{Channel, Version},
    },
    error::Error,
};

pub(crate) use download::Client;

/// An app that has been fetched and validated, but not stored.
#[derive(Debug)]
pub(crate) struct Package {
    /// Its manifest.
    pub(crate) manifest: Manifest,
    /// The version to store; `None` when it has to be derived from the contents.
    pub(crate) version: Option<String>,
    /// The SHA-256 of the archive in hex, if one was announced.
    pub(crate) checksum: String,
    /// Its files.
    pub(crate) files: Files,
}

/// Where apps are looked up.
#[derive(Clone, Debug)]
pub(crate) struct Sources {
    /// The HTTP client.
    pub(crate) client: Client,
    /// The registries of each context.
    pub(crate) contexts: Contexts,
    /// A folder of apps, for contexts without registries.
    pub(crate) app_folder: Option<PathBuf>,
    /// The folders below which apps may be installed by `file://`; the app folder is one of them.
    pub(crate) roots: Vec<PathBuf>,
    /// Limits on the size of an app.
    pub(crate) limits: Limits,
}

impl Sources {
    /// Fetches an app.
    pub(crate) async fn get(
        &self,
        source: &Source,
        kind: AppType,
        context: &str,
    ) -> Result<Package, Error> {
        match source {
            Source::Registry(app) => {
                let registries = self.contexts.registries(context);
                if registries.is_empty() {
                    self.get_from_app_folder(app, kind).await
                } else {
                    self.get_from_registries(app, kind, &registries).await
                }
            }
            Source::Web(archive) => self.get_from_web(archive, kind).await,
            Source::Folder(path) => {
                let files = folder::read(path.clone(), self.roots.clone(), self.limits).await?;
                let manifest = manifest_of(&files, kind)?.ok_or_else(|| {
                    Error::Manifest(format!("the folder holds no {}", kind.manifest_name()))
                })?;
                Ok(Package {
                    manifest,
                    version: None,
                    checksum: String::new(),
                    files,
                })
            }
        }
    }

    async fn get_from_registries(
        &self,
        app: &RegistryApp,
        kind: AppType,
        registries: &[String],
    ) -> Result<Package, Error> {
        for registry in registries {
            let Some(offer) = registry::ask(&self.client, registry, app).await? else {
                continue;
            };
            let manifest = Manifest::from_json(kind, offer.manifest).map_err(Error::Manifest)?;
            let packed = self
                .client
                .archive(
                    &offer.url,
                    Url::parse(registry).ok().as_ref(),
                    Some(&offer.sha256),
                    self.limits.packed,
                )
                .await?;
            let files = unpack(packed, self.limits).await?;
            let files = crate::archive::below(files, &offer.folder)?;
            // The manifest of the registry is authoritative. The one in the archive must not contradict it.
            manifest_of(&files, kind)?;
            return Ok(Package {
                manifest,
                version: Some(offer.version),
                checksum: offer.sha256,
                files,
            });
        }
        Err(Error::NotFound {
            source_text: Source::Registry(app.clone()).to_string(),
            why: "no registry of this instance has it".to_owned(),
        })
    }

    async fn get_from_app_folder(
        &self,
        app: &RegistryApp,
        kind: AppType,
    ) -> Result<Package, Error> {
        let not_found = |why: String| Error::NotFound {
            source_text: Source::Registry(app.clone()).to_string(),
            why,
        };
        let Some(folder) = &self.app_folder else {
            return Err(not_found("no registry is configured".to_owned()));
        };
        let path = folder.join(&app.slug);
        if !tokio::fs::try_exists(path.join(kind.manifest_name()))
            .await
            .unwrap_or(false)
        {
            return Err(not_found(format!(
                "no registry is configured, and the app folder of the server holds no such {}",
                kind.as_str()
            )));
        }
        let files = folder::read(path, vec![folder.clone()], self.limits).await?;
        let manifest = manifest_of(&files, kind)?
            .ok_or_else(|| not_found("the app folder of the server has just changed".to_owned()))?;
        let offered = Version::parse(&manifest.version);
        let wanted = match (&app.version, &offered) {
            (Some(wanted), _) => wanted.as_str() == manifest.version,
            (None, Some(offered)) => offered.channel() <= app.channel,
            (None, None) => app.channel == Channel::Dev,
        };
        if !wanted {
            return Err(not_found(format!(
                "the app folder of the server holds version {} of it only",
                manifest.version
            )));
        }
        Ok(Package {
            version: Some(manifest.version.clone()),
            manifest,
            checksum: String::new(),
            files,
        })
    }

    async fn get_from_web(&self, archive: &WebArchive, kind: AppType) -> Result<Package, Error> {
        let packed = self
            .client
            .archive(
                &archive.url,
                None,
                archive.sha256.as_deref(),
                self.limits.packed,
            )
            .await?;
        let files = unpack(packed, self.limits).await?;
        let name = kind.manifest_name();
        // The uppermost manifest marks the root folder of the app.
        let folder = files
            .keys()
            .filter(|path| path.rsplit('/').next() == Some(name))
            .min_by_key(|path| path.matches('/').count())
            .map(|path| {
                path.rsplit_once('/')
                    .map_or("", |(folder, _)| folder)
                    .to_owned()
            })
            .ok_or_else(|| Error::Manifest(format!("the archive holds no {name}")))?;
        let files = crate::archive::below(files, &folder)?;
        let manifest = manifest_of(&files, kind)?
            .ok_or_else(|| Error::Manifest(format!("the archive holds no {name}")))?;
        Ok(Package {
            version: Some(manifest.version.clone()),
            manifest,
            checksum: archive.sha256.clone().unwrap_or_default(),
            files,
        })
    }
}

fn manifest_of(files: &Files, kind: AppType) -> Result<Option<Manifest>, Error> {
    files
        .get(kind.manifest_name())
        .map(|bytes| Manifest::from_bytes(kind, bytes))
        .transpose()
        .map_err(Error::Manifest)
}

async fn unpack(packed: Vec<u8>, limits: Limits) -> Result<Files, Error> {
    tokio::task::spawn_blocking(move || crate::archive::unpack(&packed, limits)).await?
}
