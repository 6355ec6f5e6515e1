//! The store: all databases in one SQLite file.

pub(crate) mod attachments;
pub(crate) mod chores;
pub(crate) mod databases;
pub(crate) mod documents;
pub(crate) mod index_def;
pub(crate) mod indexes;
pub(crate) mod locals;
pub(crate) mod readers;
pub(crate) mod revtree;
pub(crate) mod schema;
pub(crate) mod settings;
pub(crate) mod transaction;
pub(crate) mod writer;

use std::{path::Path, sync::Arc};

use readers::Readers;
use rusqlite::Connection;
use schema::Folder;
use transaction::{Notifier, Transaction};
use writer::Writer;

use crate::{Error, api_error::ApiError};

/// The open store.
pub(crate) struct Store {
    writer: Writer,
    readers: Readers,
    pub(crate) notifier: Arc<Notifier>,
    _folder: Folder,
}

impl Store {
    pub(crate) fn open(data: &Path, max_pages: Option<u32>) -> Result<Self, Error> {
        let folder = schema::lock_folder(data)?;
        let conn = schema::open_writer(&folder.file, max_pages)?;
        let notifier = Arc::new(Notifier::default());
        let readers = Readers::start(&folder.file, 4)?;
        let writer =
            Writer::start(conn, Arc::clone(&notifier)).map_err(|source| Error::Folder {
                path: data.to_owned(),
                source,
            })?;
        Ok(Self {
            writer,
            readers,
            notifier,
            _folder: folder,
        })
    }

    /// Runs `work` on one snapshot of the store.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        self.readers.read(work).await
    }

    /// Runs `work` in a transaction and returns when it is on disk.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Transaction<'_>) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        self.writer.write(work).await
    }
}
