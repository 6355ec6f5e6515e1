//! The store: all databases in one SQLite file.

pub(crate) mod attachments;
pub(crate) mod chores;
pub(crate) mod databases;
pub(crate) mod documents;
pub(crate) mod indexes;
pub(crate) mod locals;
pub(crate) mod readers;
pub(crate) mod revtree;
pub(crate) mod schema;
pub(crate) mod writer;

use std::{path::Path, sync::Arc};

use readers::Readers;
use rusqlite::{Connection, OptionalExtension as _};
use schema::Folder;
use writer::{Bells, Writer, Writing};

use crate::{Error, failure::Failure};

/// The open store.
pub(crate) struct Store {
    writer: Writer,
    readers: Readers,
    pub(crate) bells: Arc<Bells>,
    _folder: Folder,
}

impl Store {
    pub(crate) fn open(data: &Path, max_pages: Option<u32>) -> Result<Self, Error> {
        let folder = schema::take_folder(data)?;
        let conn = schema::open_writer(&folder.file, max_pages)?;
        let bells = Arc::new(Bells::default());
        let readers = Readers::start(&folder.file, 4)?;
        let writer = Writer::start(conn, Arc::clone(&bells)).map_err(|source| Error::Folder {
            path: data.to_owned(),
            source,
        })?;
        Ok(Self {
            writer,
            readers,
            bells,
            _folder: folder,
        })
    }

    /// Reads one unchanging state.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        self.readers.read(work).await
    }

    /// Writes, and returns when the write is on disk.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Writing<'_>) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        self.writer.write(work).await
    }
}

/// A value kept beside the databases.
pub(crate) fn setting(conn: &Connection, name: &str) -> Result<Option<String>, Failure> {
    Ok(conn
        .prepare_cached("SELECT value FROM settings WHERE name = ?1")?
        .query_row([name], |row| row.get(0))
        .optional()?)
}

/// Keeps a value beside the databases.
pub(crate) fn keep_setting(writing: &Writing<'_>, name: &str, value: &str) -> Result<(), Failure> {
    writing
        .conn
        .prepare_cached("INSERT OR REPLACE INTO settings (name, value) VALUES (?1, ?2)")?
        .execute([name, value])?;
    Ok(())
}
