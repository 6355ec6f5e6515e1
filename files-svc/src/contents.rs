//! The bytes of files: what belongs to an instance lies under its prefix.

use std::{io, path::PathBuf, sync::Arc};

use futures::{Stream, StreamExt as _, TryStreamExt as _, stream};
use md5::{Digest as _, Md5};
use object_store::{ObjectStore as _, ObjectStoreExt as _, local::LocalFileSystem, path::Path};
use percent_encoding::percent_decode_str;

use crate::{
    domain::{
        object::{Object, contents_name, object_of},
        prefix::Prefix,
    },
    error::Error,
};

/// Where the contents of all instances lie.
const FILES: &str = "files";

/// The store of contents.
#[derive(Clone, Debug)]
pub(crate) struct Contents {
    store: Arc<LocalFileSystem>,
    folder: PathBuf,
}

/// An object of an instance.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    /// Its name below the instance's prefix.
    pub(crate) name: String,
    /// What it is; `None` for a name of no kind that is known.
    pub(crate) object: Option<Object>,
    location: Path,
}

impl Listed {
    /// The id of the file that it belongs to.
    pub(crate) fn file(&self) -> Option<&str> {
        match &self.object {
            Some(Object::Contents { file, .. } | Object::Thumbnail { file }) => Some(file),
            Some(Object::Avatar) | None => None,
        }
    }
}

/// What contents come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sum {
    /// How many bytes.
    pub(crate) size: u64,
    /// Their MD5; `None` when they were not read.
    pub(crate) md5: Option<[u8; 16]>,
}

impl Contents {
    /// The store in `folder`, which is made when it is missing.
    ///
    /// # Errors
    /// When the folder cannot be made or used.
    pub(crate) fn open(folder: PathBuf) -> io::Result<Self> {
        std::fs::create_dir_all(&folder)?;
        let store = LocalFileSystem::new_with_prefix(&folder)?;
        Ok(Self {
            store: Arc::new(store),
            folder,
        })
    }

    /// Removes all that belongs to an instance, empty folders included. How many objects there were.
    /// May be repeated.
    ///
    /// # Errors
    /// When something may still be there.
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
                // Another call of the same purge was faster.
                Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        // Folders, and files that were being written when their writer died, are no objects.
        let folder = self.folder.join(FILES).join(prefix.as_str());
        match tokio::fs::remove_dir_all(&folder).await {
            Ok(()) => Ok(removed),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(removed),
            Err(error) => Err(Error::Folder(error)),
        }
    }

    /// Reads the size and the MD5 of contents, piece by piece. Contents of another size than `promised`
    /// are not read: they are wrong already. `None` when there are none.
    ///
    /// # Errors
    /// When the store fails.
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

    /// Whether an object is still there.
    ///
    /// # Errors
    /// When the store fails.
    pub(crate) async fn is_there(&self, object: &Listed) -> Result<bool, Error> {
        match self.store.head(&object.location).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// The prefixes under which something lies, each with its number of objects: 0 when folders alone are
    /// left. Of one instance when `only` names it. In memory are the prefixes, one object at a time.
    ///
    /// # Errors
    /// When the store fails; while counting, as an item.
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

/// Where the contents of an instance lie.
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
    async fn a_purge_takes_one_instance_and_nothing_of_its_neighbours() {
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
