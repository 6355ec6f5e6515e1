//! The store: all databases in one SQLite file.

pub(crate) mod attachment_data;
pub(crate) mod attachments;
mod bodies;
pub(crate) mod chores;
pub(crate) mod databases;
pub(crate) mod db_updates;
pub(crate) mod documents;
mod edits;
pub(crate) mod index_def;
pub(crate) mod indexes;
pub(crate) mod locals;
pub(crate) mod partitions;
pub(crate) mod readers;
mod reserve;
pub(crate) mod revtree;
pub(crate) mod schema;
pub(crate) mod settings;
pub(crate) mod transaction;
pub(crate) mod validators;
pub(crate) mod view_blocks;
pub(crate) mod view_counts;
pub(crate) mod view_scan;
pub(crate) mod view_summaries;
pub(crate) mod views;
pub(crate) mod writer;

use std::{path::Path, sync::Arc};

use readers::Readers;
use rusqlite::Connection;
use schema::Folder;
use transaction::{Notifier, Transaction};
use writer::Writer;

use self::reserve::Reserve;
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
        if max_pages.is_none() {
            Reserve::make_room_to_start(data).map_err(|source| Error::Folder {
                path: data.to_owned(),
                source,
            })?;
        }
        let conn = schema::open_writer(&folder.file, max_pages)?;
        let notifier = Arc::new(Notifier::default());
        let readers = Readers::start(&folder.file, 4)?;
        let reserve = Reserve::new(data, &folder.file, max_pages);
        let writer = Writer::start(conn, reserve, Arc::clone(&notifier)).map_err(|source| {
            Error::Folder {
                path: data.to_owned(),
                source,
            }
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

    /// The same for a write that makes room, or that an installation needs for that: it may use the room that is kept
    /// aside for a full disk.
    pub(crate) async fn write_making_room<T: Send + 'static>(
        &self,
        work: impl Fn(&mut Transaction<'_>) -> Result<T, ApiError> + Send + Sync + 'static,
    ) -> Result<T, ApiError> {
        self.writer.write_making_room(work).await
    }

    /// Runs `work` in a transaction and returns when it is on disk.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Transaction<'_>) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        self.writer.write(work).await
    }
}
