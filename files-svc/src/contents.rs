//! The contents of files. The objects of an instance are stored under its prefix.

use std::{io, path::PathBuf, sync::Arc};

use futures::{Stream, StreamExt as _, TryStreamExt as _, stream};
use md5::{Digest as _, Md5};
use object_store::{ObjectStore as _, ObjectStoreExt as _, local::LocalFileSystem, path::Path};
use percent_encoding::percent_decode_str;
use process_kit::folder::make_folder;

use crate::{
    domain::{
        object::{Object, contents_name, object_of},
        prefix::Prefix,
    },
    error::Error,
};

/// The folder in which the contents of all instances are stored.
const FILES: &str = "files";

/// The store of contents.
#[derive(Clone, Debug)]
pub(crate) struct Contents {
    store: Arc<LocalFileSystem>,
    folder: PathBuf,
}

/// A stored object of an instance.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    /// Its name below the instance's prefix.
    pub(crate) name: String,
    /// What the name stands for; `None` when the name fits no known layout.
    pub(crate) object: Option<Object>,
    location: Path,
}

impl Listed {
    /// The id of the file to which the object belongs.
    pub(crate) fn file(&self) -> Option<&str> {
        match &self.object {
            Some(Object::Contents { file, .. } | Object::Thumbnail { file }) => Some(file),
            Some(Object::Avatar) | None => None,
        }
    }
}

/// The measured size and hash of contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sum {
    /// Size in bytes.
    pub(crate) size: u64,
    /// The MD5 hash; `None` when the contents were not read.
    pub(crate) md5: Option<[u8; 16]>,
}

impl Contents {
    /// Opens the store in `folder`, and creates the folder if it is missing.
    ///
    /// # Errors
    /// When the folder cannot be created or used.
    pub(crate) fn open(folder: PathBuf) -> io::Result<Self> {
        make_folder(&folder).map_err(io::Error::other)?;
        let store = LocalFileSystem::new_with_prefix(&folder)?;
        Ok(Self {
            store: Arc::new(store),
            folder,
        })
    }

    /// The store itself.
    pub(crate) fn store(&self) -> Arc<LocalFileSystem> {
        Arc::clone(&self.store)
    }

    /// Removes all objects of an instance and its empty folders. Returns the number of objects removed. Idempotent.
    ///
    /// # Errors
    /// When the store fails. Some objects may then still exist.
    pub(crate) async fn purge(&self, prefix: &Prefix) -> Result<u64, Error> {
        let place = place_of(prefix);
        let listed = self
            .store
            .list(Some(&place))
            .map_ok(|object| object.location);
        let mut gone = self.store.delete_stream(listed.boxed());
        let mut removed = 0;
        while let Some(one) = gone.next().await {
            match one {
                Ok(_) => removed += 1,
                // A concurrent purge of the same instance was faster.
                Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        // Empty folders, and files whose writer died half-way, are not objects of the store.
        let folder = self.folder.join(FILES).join(prefix.as_str());
        match tokio::fs::remove_dir_all(&folder).await {
            Ok(()) => Ok(removed),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(removed),
            Err(error) => Err(Error::Folder(error)),
        }
    }

    /// Measures the size and the MD5 hash of contents, reading them in pieces. Contents whose size differs from
    /// `promised` are not read, because they are known to be wrong. `None` when the object does not exist.
    pub(crate) async fn measure(
        &self,
        prefix: &Prefix,
        file: &str,
        internal: &str,
        promised: Option<u64>,
    ) -> Result<Option<Sum>, Error> {
        let place = contents_name(file, internal)
            .iter()
            .fold(place_of(prefix), |place, part| place.join(part.as_str()));
        let found = match self.store.get(&place).await {
            Ok(found) => found,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let size = found.meta.size;
        if promised.is_some_and(|promised| promised != size) {
            return Ok(Some(Sum { size, md5: None }));
        }
        let mut md5 = Md5::new();
        let mut pieces = found.into_stream();
        while let Some(piece) = pieces.try_next().await? {
            md5.update(&piece);
        }
        Ok(Some(Sum {
            size,
            md5: Some(md5.finalize().into()),
        }))
    }

    /// The objects of an instance.
    pub(crate) fn list(
        &self,
        prefix: &Prefix,
    ) -> impl Stream<Item = Result<Listed, Error>> + Send + use<> {
        let place = place_of(prefix);
        let listed = self.store.list(Some(&place));
        listed.map_err(Error::from).map_ok(move |object| {
            let parts: Vec<String> = object
                .location
                .parts()
                .skip(place.parts_count())
                .map(|part| percent_decode_str(part.as_ref()).decode_utf8_lossy().into())
                .collect();
            Listed {
                name: parts.join("/"),
                object: object_of(&parts),
                location: object.location,
            }
        })
    }

    /// Whether an object still exists.
    pub(crate) async fn is_there(&self, object: &Listed) -> Result<bool, Error> {
        match self.store.head(&object.location).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// The prefixes under which anything is stored, each with its number of objects (0 when only folders are left).
    /// With `only`, the prefix of that instance alone. The prefixes are held in memory, the objects are not.
    ///
    /// # Errors
    /// When the store fails. Errors while objects are counted are items of the stream.
    pub(crate) async fn prefixes(
        &self,
        only: Option<&Prefix>,
    ) -> Result<impl Stream<Item = Result<(String, u64), Error>> + Send + use<>, Error> {
        let wanted = only.map(place_of);
        let files = Path::from(FILES);
        let all = self.store.list_with_delimiter(Some(&files)).await?;
        let found: Vec<Path> = all
            .common_prefixes
            .into_iter()
            .filter(|place| wanted.as_ref().is_none_or(|wanted| wanted == place))
            .collect();
        let store = Arc::clone(&self.store);
        Ok(stream::iter(found).then(move |place| {
            let store = Arc::clone(&store);
            async move {
                let count = store
                    .list(Some(&place))
                    .try_fold(0, |count, _| std::future::ready(Ok(count + 1)))
                    .await?;
                Ok((place.filename().unwrap_or_default().to_owned(), count))
            }
        }))
    }
}

/// The path under which the contents of an instance are stored.
fn place_of(prefix: &Prefix) -> Path {
    Path::from_iter([FILES, prefix.as_str()])
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use std::fs;

    use object_store::{ObjectStoreExt as _, path::Path};

    use super::Contents;
    use crate::domain::prefix::Prefix;

    #[tokio::test]
    async fn purging_contents_affects_only_one_instance() {
        let folder = tempfile::tempdir().unwrap();
        let contents = Contents::open(folder.path().join("made")).unwrap();
        for path in ["files/a/1", "files/a/deep/er/2", "files/ab/3", "apps/a/4"] {
            let place = Path::from(path);
            contents.store.put(&place, "bytes".into()).await.unwrap();
        }
        let ours = folder.path().join("made/files/a");
        fs::create_dir_all(ours.join("empty/folders")).unwrap();
        fs::write(ours.join("half-written#1"), "b").unwrap();

        let prefix = Prefix::parse("a").unwrap();
        assert_eq!(contents.purge(&prefix).await.unwrap(), 2);
        assert!(!ours.exists());
        assert!(folder.path().join("made/files/ab/3").exists());
        assert!(folder.path().join("made/apps/a/4").exists());
        assert_eq!(contents.purge(&prefix).await.unwrap(), 0, "once more");
    }
}
