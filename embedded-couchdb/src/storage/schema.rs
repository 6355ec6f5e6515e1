//! The SQLite file: tables, format version, opening.

use std::{
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
    time::Duration,
};

use process_kit::folder;
use rusqlite::{Connection, OpenFlags};

use crate::Error;

/// The format version. It is raised with every change that an older program cannot read.
///
/// 1: the first. 2: attachments may be stored compressed; shared bodies, validation functions and views.
/// 3: summaries of views' rows, which a change of rows has to take away. 4: how many rows they stand for.
pub(crate) const FORMAT: i64 = 4;

const TABLES: &str = "
CREATE TABLE dbs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    uuid TEXT NOT NULL,
    created INTEGER NOT NULL,
    shards INTEGER NOT NULL,
    partitioned INTEGER NOT NULL,
    seq INTEGER NOT NULL DEFAULT 0,
    purge_seq INTEGER NOT NULL DEFAULT 0,
    docs INTEGER NOT NULL DEFAULT 0,
    deleted INTEGER NOT NULL DEFAULT 0,
    external INTEGER NOT NULL DEFAULT 0,
    stale INTEGER NOT NULL DEFAULT 0,
    revs_limit INTEGER NOT NULL DEFAULT 1000,
    purged_limit INTEGER NOT NULL DEFAULT 1000,
    security TEXT
) STRICT;
CREATE TABLE docs (
    db INTEGER NOT NULL,
    id TEXT NOT NULL,
    seq INTEGER NOT NULL,
    deleted INTEGER NOT NULL,
    rev TEXT NOT NULL,
    size INTEGER NOT NULL,
    body INTEGER,
    tree BLOB NOT NULL,
    PRIMARY KEY (db, id)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX docs_by_seq ON docs (db, seq);
CREATE TABLE bodies (id INTEGER PRIMARY KEY, body TEXT NOT NULL, attachments TEXT) STRICT;
CREATE TABLE attachments (id INTEGER PRIMARY KEY, refs INTEGER NOT NULL, data BLOB NOT NULL) STRICT;
CREATE TABLE locals (
    db INTEGER NOT NULL,
    id TEXT NOT NULL,
    rev INTEGER NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (db, id)
) STRICT, WITHOUT ROWID;
CREATE TABLE indexes (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    db INTEGER NOT NULL,
    ddoc TEXT NOT NULL,
    name TEXT NOT NULL,
    def TEXT NOT NULL,
    ready INTEGER NOT NULL,
    built_to TEXT NOT NULL DEFAULT '',
    UNIQUE (db, ddoc, name)
) STRICT;
CREATE TABLE index_rows (
    idx INTEGER NOT NULL,
    key BLOB NOT NULL,
    id TEXT NOT NULL,
    PRIMARY KEY (idx, key, id)
) STRICT, WITHOUT ROWID;
CREATE TABLE chores (
    kind TEXT NOT NULL,
    subject INTEGER NOT NULL,
    done_to TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (kind, subject)
) STRICT, WITHOUT ROWID;
CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
";

/// What format 2 adds.
const TABLES_2: &str = "
ALTER TABLE bodies ADD COLUMN refs INTEGER;
CREATE TABLE shared_bodies (digest BLOB PRIMARY KEY, body INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE validators (
    db INTEGER NOT NULL,
    ddoc TEXT NOT NULL,
    PRIMARY KEY (db, ddoc)
) STRICT, WITHOUT ROWID;
CREATE TABLE views (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    db INTEGER NOT NULL,
    signature TEXT NOT NULL,
    seq INTEGER NOT NULL DEFAULT 0,
    UNIQUE (db, signature)
) STRICT;
CREATE TABLE view_totals (
    view INTEGER NOT NULL,
    n INTEGER NOT NULL,
    total INTEGER NOT NULL,
    PRIMARY KEY (view, n)
) STRICT, WITHOUT ROWID;
CREATE TABLE view_rows (
    view INTEGER NOT NULL,
    n INTEGER NOT NULL,
    key BLOB NOT NULL,
    id TEXT NOT NULL,
    place INTEGER NOT NULL,
    emitted TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (view, n, key, id, place)
) STRICT, WITHOUT ROWID;
CREATE INDEX view_rows_by_id ON view_rows (view, id);
";

/// What format 4 adds. Format 3 had the table with other columns. What it holds is made again when it is missed.
const TABLES_4: &str = "
DROP TABLE IF EXISTS view_blocks;
CREATE TABLE view_blocks (
    view INTEGER NOT NULL,
    n INTEGER NOT NULL,
    key BLOB NOT NULL,
    id TEXT NOT NULL,
    emitted TEXT NOT NULL,
    rows INTEGER NOT NULL,
    stamp INTEGER NOT NULL,
    value TEXT,
    first TEXT,
    PRIMARY KEY (view, n, key, id)
) STRICT, WITHOUT ROWID;
";

/// What an earlier format lacks.
fn migration(from: i64) -> String {
    let mut steps = String::new();
    if from < 2 {
        steps.push_str(TABLES_2);
        steps.push_str(
            "INSERT INTO validators (db, ddoc) \
             SELECT docs.db, docs.id FROM docs JOIN bodies ON bodies.id = docs.body \
             WHERE docs.id >= '_design/' AND docs.id < '_design0' AND docs.deleted = 0 \
             AND instr(bodies.body, '\"validate_doc_update\"') > 0;",
        );
    }
    steps.push_str(TABLES_4);
    steps
}

/// The lock on the data folder, held until this is dropped.
pub(crate) struct Folder {
    pub(crate) file: PathBuf,
    _lock: File,
}

/// Locks the data folder, and creates it if it is missing.
pub(crate) fn lock_folder(data: &Path) -> Result<Folder, Error> {
    fs::create_dir_all(data).map_err(|source| Error::Folder {
        path: data.to_owned(),
        source,
    })?;
    let lock_file = data.join("couch.lock");
    let lock = File::create(&lock_file).map_err(|source| Error::Folder {
        path: data.to_owned(),
        source,
    })?;
    match lock.try_lock() {
        Ok(()) => {
            if let Err(error) = folder::warn_if_open(data) {
                tracing::debug!(%error, "the mode of the data folder is unknown");
            }
            Ok(Folder {
                file: data.join("couch.sqlite"),
                _lock: lock,
            })
        }
        Err(TryLockError::WouldBlock) => Err(Error::InUse {
            path: data.to_owned(),
        }),
        Err(TryLockError::Error(source)) => Err(Error::Folder {
            path: data.to_owned(),
            source,
        }),
    }
}

/// Takes the rights of other users from the files of an earlier version. SQLite gives the files beside the first the
/// mode of the first.
fn make_private(file: &Path) -> Result<(), Error> {
    for suffix in ["", "-wal", "-shm"] {
        let mut path = file.as_os_str().to_owned();
        path.push(suffix);
        let path = PathBuf::from(path);
        folder::make_private(&path).map_err(|source| Error::Folder { path, source })?;
    }
    Ok(())
}

/// Opens the file for writing, and creates the tables if it is new.
pub(crate) fn open_writer(file: &Path, max_pages: Option<u32>) -> Result<Connection, Error> {
    let store = |source| Error::Store {
        path: file.to_owned(),
        source,
    };
    make_private(file)?;
    let conn = Connection::open(file).map_err(store)?;
    conn.busy_timeout(Duration::from_secs(10)).map_err(store)?;
    let format: i64 = conn
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .map_err(store)?;
    if format > FORMAT {
        return Err(Error::NewerFormat {
            path: file.to_owned(),
            found: format,
            known: FORMAT,
        });
    }
    conn.query_row("PRAGMA journal_mode=WAL", [], |_| Ok(()))
        .map_err(store)?;
    // With `synchronous=FULL`, a commit is on disk before its response is sent.
    conn.execute_batch(
        "PRAGMA synchronous=FULL; PRAGMA cache_size=-8000; PRAGMA temp_store=MEMORY; \
         PRAGMA journal_size_limit=67108864;",
    )
    .map_err(store)?;
    conn.set_prepared_statement_cache_capacity(64);
    if format < FORMAT {
        let steps = match format {
            0 => [TABLES, TABLES_2, TABLES_4].concat(),
            earlier => migration(earlier),
        };
        conn.execute_batch(&format!(
            "BEGIN IMMEDIATE; {steps} PRAGMA user_version={FORMAT}; COMMIT;"
        ))
        .map_err(store)?;
    }
    if let Some(pages) = max_pages {
        conn.query_row(&format!("PRAGMA max_page_count={pages}"), [], |_| Ok(()))
            .map_err(store)?;
    }
    Ok(conn)
}

/// Opens the file for reading.
pub(crate) fn open_reader(file: &Path) -> Result<Connection, Error> {
    let store = |source| Error::Store {
        path: file.to_owned(),
        source,
    };
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(file, flags).map_err(store)?;
    conn.busy_timeout(Duration::from_secs(10)).map_err(store)?;
    conn.execute_batch("PRAGMA cache_size=-2000; PRAGMA temp_store=MEMORY;")
        .map_err(store)?;
    conn.set_prepared_statement_cache_capacity(64);
    Ok(conn)
}
