//! The bytes of files: what belongs to an instance lies under its prefix.

use std::{io, path::PathBuf, sync::Arc};

use futures::{StreamExt as _, TryStreamExt as _};
use object_store::{ObjectStore as _, local::LocalFileSystem, path::Path};

use crate::{domain::prefix::Prefix, error::Error};

/// The store of contents.
#[derive(Clone, Debug)]
pub(crate) struct Contents {
    store: Arc<LocalFileSystem>,
    folder: PathBuf,
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
        let place = Path::from_iter(["files", prefix.as_str()]);
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
        let folder = self.folder.join("files").join(prefix.as_str());
        match tokio::fs::remove_dir_all(&folder).await {
            Ok(()) => Ok(removed),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(removed),
            Err(error) => Err(Error::Folder(error)),
        }
    }
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
