//! Reads the contents of installed apps.

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream::BoxStream};
use object_store::{Error as StoreError, GetOptions, GetRange, ObjectStore as _, path::Path};
use quick_cache::{Weighter, sync::Cache};

use super::{Contents, Leaf, pointers};
use crate::{domain::app_type::AppType, error::Error};

/// How much memory the lists of files may take, in bytes.
const MEMORY: u64 = 16 << 20;

/// The files of an app by their paths.
pub(crate) type Leaves = BTreeMap<String, Leaf>;

/// Lists of files by their hashes.
pub(super) type Trees = Cache<String, Arc<Leaves>, BySize>;

/// Weighs a list of files.
#[derive(Clone, Debug)]
pub(super) struct BySize;

impl Weighter<String, Arc<Leaves>> for BySize {
    fn weight(&self, hash: &String, leaves: &Arc<Leaves>) -> u64 {
        // A hash, a type, and what the tree takes for each file.
        let files = leaves.keys().map(|path| path.len() + 256).sum::<usize>();
        (hash.len() + files) as u64
    }
}

pub(super) fn trees() -> Trees {
    Cache::with_weighter(256, MEMORY, BySize)
}

/// Contents that arrive piece by piece.
pub(crate) struct Blob {
    /// The size of the whole, in bytes.
    pub(crate) size: u64,
    /// What was asked for.
    pub(crate) bytes: BoxStream<'static, Result<Bytes, Error>>,
}

impl Contents {
    /// The files of an installed app. `None` when they are not in this store.
    ///
    /// # Errors
    /// When the store fails.
    pub(crate) async fn files(
        &self,
        prefix: &str,
        kind: AppType,
        slug: &str,
        key: &str,
    ) -> Result<Option<Arc<Leaves>>, Error> {
        let pointer = pointers(prefix, kind, slug)?.join(key);
        let Some(hash) = self.whole(&pointer).await? else {
            return Ok(None);
        };
        let hash = String::from_utf8_lossy(&hash).into_owned();
        if let Some(leaves) = self.trees.get(&hash) {
            return Ok(Some(leaves));
        }
        let list = Path::from_iter(["apps", "trees", &hash]);
        let Some(json) = self.whole(&list).await? else {
            return Ok(None);
        };
        let leaves: Leaves =
            serde_json::from_slice(&json).map_err(|error| Error::Stored(error.to_string()))?;
        let leaves = Arc::new(leaves);
        self.trees.insert(hash, Arc::clone(&leaves));
        Ok(Some(leaves))
    }

    /// The bytes of a file, or a part of them. `None` when they are not in this store.
    ///
    /// # Errors
    /// When the store fails.
    pub(crate) async fn blob(
        &self,
        leaf: &Leaf,
        part: Option<Range<u64>>,
    ) -> Result<Option<Blob>, Error> {
        self.read(&Path::from_iter(["apps", "sha256", &leaf.sha256]), part)
            .await
    }

    /// The bytes of a file, compressed with Brotli. `None` when it is kept as it is only.
    ///
    /// # Errors
    /// When the store fails.
    pub(crate) async fn packed(&self, leaf: &Leaf) -> Result<Option<Blob>, Error> {
        self.read(&Path::from_iter(["apps", "br", &leaf.sha256]), None)
            .await
    }

    async fn read(&self, at: &Path, part: Option<Range<u64>>) -> Result<Option<Blob>, Error> {
        let options = GetOptions {
            range: part.map(GetRange::Bounded),
            ..GetOptions::default()
        };
        match self.store.get_opts(at, options).await {
            Ok(found) => Ok(Some(Blob {
                size: found.meta.size,
                bytes: found.into_stream().map_err(Error::from).boxed(),
            })),
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// A small object as a whole.
    async fn whole(&self, at: &Path) -> Result<Option<Bytes>, Error> {
        match self.store.get_opts(at, GetOptions::default()).await {
            Ok(found) => Ok(Some(found.bytes().await?)),
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl std::fmt::Debug for Blob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Blob")
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}
