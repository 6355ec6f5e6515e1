//! The contents of apps. Each file is stored once, by its hash, for the whole installation.
//!
//! | object | what |
//! |---|---|
//! | `apps/sha256/HASH` | the bytes of a file |
//! | `apps/br/HASH` | the same, compressed with Brotli, if that is worth it |
//! | `apps/trees/HASH` | the files of an app: path, hash, size and content type, as JSON |
//! | `instances/PREFIX/apps/KIND/SLUG/KEY` | a pointer: the hash of the tree of an installed app |
//!
//! KEY is derived from the source, version and checksum in the app's document. When two installations of one slug
//! compete, the published document therefore decides which pointer counts.
//!
//! Only pointers belong to a single instance. Trees and files are shared, and are removed when no pointer has referred
//! to them for a day.

mod packed;
mod reading;

use std::{
    collections::{BTreeMap, HashSet},
    path::{Path as FolderPath, PathBuf},
    sync::Arc,
    time::Duration,
};

use futures::{Stream, StreamExt as _, TryStreamExt as _, stream};
use object_store::{
    Error as StoreError, ObjectMeta, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions,
    PutPayload, local::LocalFileSystem, path::Path,
};
use process_kit::folder::make_folder;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;
use tokio::sync::RwLock;

use crate::{archive::Files, domain::app_type::AppType, error::Error};

pub(crate) use self::reading::{Blob, Leaves};
use self::{packed::pack, reading::Trees};

const BLOBS: &str = "apps/sha256";
const PACKED: &str = "apps/br";
const TREES: &str = "apps/trees";
const INSTANCES: &str = "instances";

/// How long unreferenced contents are kept.
const KEPT: Duration = Duration::from_secs(24 * 3600);

/// Existing contents that are older than this are written again when an app needs them, so that they count as new. This
/// is much shorter than [`KEPT`], because another replica may sweep while this one stores.
const RENEWED: Duration = Duration::from_secs(6 * 3600);

/// The content store. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Contents {
    store: Arc<LocalFileSystem>,
    folder: PathBuf,
    /// Held for reading while contents are stored, and for writing while they are swept. Otherwise a sweep could remove
    /// contents that an installation has just found to exist.
    sweeping: Arc<RwLock<()>>,
    /// Lists of files that were read lately.
    trees: Arc<Trees>,
}

/// One file of a tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Leaf {
    /// The SHA-256 of its contents.
    pub(crate) sha256: String,
    /// Its size in bytes.
    pub(crate) size: u64,
    /// Its content type.
    pub(crate) mime: String,
}

/// The files of an app, and the hash of their list.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    /// The hash of [`Self::json`].
    pub(crate) hash: String,
    json: Vec<u8>,
    blobs: BTreeMap<String, bytes::Bytes>,
}

impl Tree {
    /// Hashes the files and their list.
    pub(crate) fn of(files: &Files) -> Result<Self, Error> {
        let mut leaves = BTreeMap::new();
        let mut blobs = BTreeMap::new();
        for (path, content) in files {
            let sha256 = hex::encode(Sha256::digest(content));
            blobs.insert(sha256.clone(), content.clone());
            let leaf = Leaf {
                sha256,
                size: content.len() as u64,
                mime: mime(path).to_owned(),
            };
            leaves.insert(path, leaf);
        }
        let json = serde_json::to_vec(&leaves).map_err(|error| Error::Stored(error.to_string()))?;
        Ok(Self {
            hash: hex::encode(Sha256::digest(&json)),
            json,
            blobs,
        })
    }
}

impl Contents {
    /// Opens the store in a folder, which is created if missing. Removes partial files of writers that were killed.
    ///
    /// # Errors
    /// When the folder cannot be used.
    pub(crate) fn open(folder: &FolderPath) -> Result<Self, Error> {
        let unusable = |source: std::io::Error| {
            Error::Contents(StoreError::Generic {
                store: "folder",
                source: Box::new(source),
            })
        };
        make_folder(folder).map_err(|error| unusable(std::io::Error::other(error)))?;
        for below in [BLOBS, PACKED, TREES] {
            remove_half_written(&folder.join(below)).map_err(unusable)?;
        }
        Ok(Self {
            store: Arc::new(LocalFileSystem::new_with_prefix(folder)?.with_automatic_cleanup(true)),
            folder: folder.to_owned(),
            sweeping: Arc::default(),
            trees: Arc::new(reading::trees()),
        })
    }

    /// Stores the files of an app, each once, and points `key` of the app at them. Idempotent.
    pub(crate) async fn keep(
        &self,
        prefix: &str,
        kind: AppType,
        slug: &str,
        key: &str,
        tree: &Tree,
    ) -> Result<(), Error> {
        let pointer = pointers(prefix, kind, slug)?.join(key);
        let _storing = self.sweeping.read().await;
        for (sha256, content) in &tree.blobs {
            self.put_once(
                &Path::from_iter(["apps", "sha256", sha256]),
                content.clone().into(),
            )
            .await?;
            if let Some(packed) = pack(content).await? {
                let at = Path::from_iter(["apps", "br", sha256]);
                self.put_once(&at, packed.into()).await?;
            }
        }
        let list = Path::from_iter(["apps", "trees", &tree.hash]);
        self.put_once(&list, tree.json.clone().into()).await?;
        self.store
            .put(&pointer, PutPayload::from(tree.hash.clone().into_bytes()))
            .await?;
        Ok(())
    }

    /// Removes all pointers of an app. Idempotent.
    pub(crate) async fn forget(
        &self,
        prefix: &str,
        kind: AppType,
        slug: &str,
    ) -> Result<(), Error> {
        self.remove_below(&pointers(prefix, kind, slug)?).await?;
        Ok(())
    }

    /// The keys of the pointers of an app.
    ///
    /// # Errors
    /// When the store fails.
    pub(crate) async fn forms(
        &self,
        prefix: &str,
        kind: AppType,
        slug: &str,
    ) -> Result<Vec<String>, Error> {
        let folder = pointers(prefix, kind, slug)?;
        let found: Vec<ObjectMeta> = self.store.list(Some(&folder)).try_collect().await?;
        let keys = found.iter().filter_map(|object| object.location.filename());
        Ok(keys.map(str::to_owned).collect())
    }

    /// Removes one pointer of an app: that of an installation which lost against a competing one. Idempotent.
    pub(crate) async fn forget_form(
        &self,
        prefix: &str,
        kind: AppType,
        slug: &str,
        key: &str,
    ) -> Result<(), Error> {
        let pointer = pointers(prefix, kind, slug)?.join(key);
        match self.store.delete(&pointer).await {
            Ok(()) | Err(StoreError::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes the pointers of all apps of an instance. Returns the number of apps. Idempotent.
    ///
    /// # Errors
    /// When the store fails. Some pointers may then have been removed.
    pub(crate) async fn purge(&self, prefix: &str) -> Result<u64, Error> {
        let prefix = &checked(prefix)?;
        let removed = self
            .remove_below(&Path::from_iter([INSTANCES, prefix, "apps"]))
            .await?;
        // The store lists neither empty folders nor partial files.
        let instance = self.folder.join(INSTANCES).join(prefix);
        gone(tokio::fs::remove_dir_all(instance.join("apps")).await)?;
        // This fails while other data of the instance is in the folder.
        match tokio::fs::remove_dir(&instance).await {
            Err(error) if error.kind() == std::io::ErrorKind::DirectoryNotEmpty => {}
            removed => gone(removed)?,
        }
        Ok(removed)
    }

    /// The prefixes of instances under which apps have pointers, each with their number (0 when only folders are left).
    /// Other services' data below a prefix is ignored. With `only`, the prefix of that instance alone.
    ///
    /// # Errors
    /// When the store fails. Errors while pointers are counted are items of the stream.
    pub(crate) async fn prefixes(
        &self,
        only: Option<&str>,
    ) -> Result<impl Stream<Item = Result<(String, u64), Error>> + Send + use<>, Error> {
        let wanted = only.map(checked).transpose()?;
        let instances = Path::from(INSTANCES);
        let all = self.store.list_with_delimiter(Some(&instances)).await?;
        let found: Vec<Path> = all
            .common_prefixes
            .into_iter()
            .filter(|place| wanted.is_none() || place.filename() == wanted.as_deref())
            .collect();
        let store = Arc::clone(&self.store);
        let counted = stream::iter(found).then(move |place| {
            let store = Arc::clone(&store);
            async move {
                let apps = place.clone().join("apps");
                let below = store.list_with_delimiter(Some(&place)).await?;
                let is_empty = below.objects.is_empty() && below.common_prefixes.is_empty();
                if !is_empty && !below.common_prefixes.contains(&apps) {
                    return Ok(None);
                }
                let count = store
                    .list(Some(&apps))
                    .try_fold(0, |count, _| std::future::ready(Ok(count + 1)))
                    .await?;
                Ok(Some((
                    place.filename().unwrap_or_default().to_owned(),
                    count,
                )))
            }
        });
        Ok(counted.try_filter_map(|found| std::future::ready(Ok(found))))
    }

    async fn remove_below(&self, folder: &Path) -> Result<u64, Error> {
        let found: Vec<ObjectMeta> = self.store.list(Some(folder)).try_collect().await?;
        let mut removed = 0;
        for object in found {
            match self.store.delete(&object.location).await {
                Ok(()) => removed += 1,
                Err(StoreError::NotFound { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(removed)
    }

    /// Removes contents to which no pointer has referred for a day. Returns how many were removed.
    ///
    /// # Errors
    /// When the store fails. Referenced contents are never removed.
    pub(crate) async fn sweep(&self) -> Result<u64, Error> {
        self.sweep_before(OffsetDateTime::now_utc() - KEPT).await
    }

    async fn sweep_before(&self, old: OffsetDateTime) -> Result<u64, Error> {
        let _alone = self.sweeping.write().await;
        let mut used = HashSet::new();
        let instances = Path::from(INSTANCES);
        let mut pointers = self.store.list(Some(&instances));
        while let Some(object) = pointers.try_next().await? {
            if object
                .location
                .parts()
                .nth(2)
                .is_some_and(|part| part.as_ref() == "apps")
            {
                let hash = self.store.get(&object.location).await?.bytes().await?;
                used.insert(String::from_utf8_lossy(&hash).into_owned());
            }
        }
        let mut blobs = HashSet::new();
        for hash in &used {
            let list = Path::from_iter(["apps", "trees", hash]);
            let json = match self.store.get(&list).await {
                Ok(found) => found.bytes().await?,
                Err(StoreError::NotFound { .. }) => continue,
                Err(error) => return Err(error.into()),
            };
            let leaves: BTreeMap<String, Leaf> =
                serde_json::from_slice(&json).map_err(|error| Error::Stored(error.to_string()))?;
            blobs.extend(leaves.into_values().map(|leaf| leaf.sha256));
        }
        let mut removed = 0;
        for (folder, used) in [(TREES, &used), (BLOBS, &blobs), (PACKED, &blobs)] {
            let folder = Path::from(folder);
            let found: Vec<ObjectMeta> = self.store.list(Some(&folder)).try_collect().await?;
            for object in found {
                let name = object.location.filename().unwrap_or_default();
                let is_old = object.last_modified.timestamp() < old.unix_timestamp();
                if is_old && !used.contains(name) {
                    self.store.delete(&object.location).await?;
                    removed += 1;
                }
            }
        }
        Ok(removed)
    }

    /// Writes an object whose name is its hash, atomically and only if it is missing or old.
    async fn put_once(&self, at: &Path, content: PutPayload) -> Result<(), Error> {
        let size = content.content_length() as u64;
        match self
            .store
            .put_opts(at, content.clone(), PutOptions::from(PutMode::Create))
            .await
        {
            Ok(_) => Ok(()),
            Err(StoreError::AlreadyExists { .. }) => {
                let found = self.store.head(at).await?;
                let renewed = OffsetDateTime::now_utc() - RENEWED;
                let is_old = found.last_modified.timestamp() < renewed.unix_timestamp();
                // After a power failure, the file may exist without all of its contents.
                if is_old || found.size != size {
                    self.store.put(at, content).await?;
                }
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// The folder of an app's pointers.
fn pointers(prefix: &str, kind: AppType, slug: &str) -> Result<Path, Error> {
    let prefix = checked(prefix)?;
    Ok(Path::from_iter([
        INSTANCES,
        &prefix,
        "apps",
        kind.as_str(),
        slug,
    ]))
}

/// Checks a prefix before it is used as a folder name. The dots and colons of old prefixes are replaced by dashes, as
/// in the names of their databases.
fn checked(prefix: &str) -> Result<String, Error> {
    let prefix = prefix.replace(['.', ':'], "-");
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if prefix.is_empty() || !prefix.bytes().all(plain) {
        return Err(Error::Stored(format!("{prefix:?} is no prefix")));
    }
    Ok(prefix)
}

fn gone(removed: std::io::Result<()>) -> Result<(), Error> {
    match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::Contents(StoreError::Generic {
                store: "folder",
                source: Box::new(error),
            }))
        }
        _ => Ok(()),
    }
}

/// Removes partial files. `object_store` writes to `NAME#N` first, and renames the file when it is complete.
fn remove_half_written(folder: &FolderPath) -> std::io::Result<()> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_name().to_string_lossy().contains('#') {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// The content type of a file, by its extension.
fn mime(path: &str) -> &'static str {
    match path.rsplit_once('.').map_or("", |(_, end)| end) {
        "html" | "htm" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" | "map" | "webapp" | "konnector" => "application/json",
        "webmanifest" => "application/manifest+json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "avif" => "image/avif",
        "ico" => "image/x-icon",
        "woff" => "font/woff",
        "woff2" => "font/woff2",
        "ttf" => "font/ttf",
        "txt" | "md" => "text/plain; charset=utf-8",
        "xml" => "application/xml",
        "pdf" => "application/pdf",
        "wasm" => "application/wasm",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use futures::TryStreamExt as _;
    use time::{Duration, OffsetDateTime};

    use super::{Contents, Tree};
    use crate::{archive::Files, domain::app_type::AppType};

    fn tree(files: &[(&str, &'static str)]) -> Tree {
        let files: Files = files
            .iter()
            .map(|(path, content)| ((*path).to_owned(), (*content).into()))
            .collect();
        Tree::of(&files).unwrap()
    }

    fn count(folder: &std::path::Path) -> usize {
        std::fs::read_dir(folder).map_or(0, Iterator::count)
    }

    #[tokio::test]
    async fn equal_contents_are_stored_once_and_swept_when_unreferenced() {
        let folder = tempfile::tempdir().unwrap();
        let contents = Contents::open(folder.path()).unwrap();
        let blobs = folder.path().join("apps/sha256");
        let keep = async |prefix, tree: Tree| {
            let kind = AppType::Webapp;
            contents.keep(prefix, kind, "home", "key", &tree).await
        };
        keep("a", tree(&[("x", "same"), ("y", "same"), ("z", "mine")]))
            .await
            .unwrap();
        keep("b", tree(&[("x", "same")])).await.unwrap();
        assert_eq!(count(&blobs), 2);
        let list = async |only| {
            let found = contents.prefixes(only).await.unwrap();
            let mut found: Vec<_> = found.try_collect().await.unwrap();
            found.sort();
            found
        };
        let (a, b) = (("a".to_owned(), 1), ("b".to_owned(), 1));
        assert_eq!(list(None).await, [a.clone(), b]);
        assert_eq!(list(Some("a")).await, [a]);
        assert_eq!(list(Some("c")).await, []);

        let soon = OffsetDateTime::now_utc() + Duration::hours(1);
        assert_eq!(contents.sweep_before(soon).await.unwrap(), 0);
        assert_eq!(contents.purge("a").await.unwrap(), 1);
        assert_eq!(contents.purge("a").await.unwrap(), 0);
        assert_eq!(count(&folder.path().join("instances")), 1);
        assert!(contents.purge("../instances").await.is_err());
        assert_eq!(contents.purge("alice.example:8080").await.unwrap(), 0);
        assert_eq!(
            contents.sweep().await.unwrap(),
            0,
            "it may be wanted again today"
        );
        assert_eq!(contents.sweep_before(soon).await.unwrap(), 2);
        assert_eq!(count(&blobs), 1);
    }

    #[tokio::test]
    async fn partial_files_of_a_killed_writer_are_removed_at_the_next_start() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = folder.path().join("apps/sha256");
        std::fs::create_dir_all(&blobs).unwrap();
        std::fs::write(blobs.join("abc#1"), "half").unwrap();
        Contents::open(folder.path()).unwrap();
        assert_eq!(count(&blobs), 0);
    }
}
