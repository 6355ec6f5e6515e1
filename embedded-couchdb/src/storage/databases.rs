//! Databases: rows of one table.

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::writer::Writing;
use crate::{
    failure::Failure,
    json::{Json, obj},
};

/// A database, as it was when its row was read.
#[derive(Clone, Debug)]
pub(crate) struct Database {
    pub(crate) id: i64,
    pub(crate) name: String,
    /// Tells this database from an earlier one of the same name.
    pub(crate) uuid: String,
    pub(crate) created: i64,
    pub(crate) shards: i64,
    pub(crate) partitioned: bool,
    pub(crate) seq: i64,
    pub(crate) purge_seq: i64,
    pub(crate) docs: i64,
    pub(crate) deleted: i64,
    pub(crate) external: i64,
    pub(crate) stale: i64,
    pub(crate) revs_limit: i64,
    pub(crate) purged_limit: i64,
    pub(crate) security: Option<String>,
    /// The document that the request has just stored: its next revision is the same update.
    pub(crate) just_stored: Option<String>,
}

const COLUMNS: &str = "id, name, uuid, created, shards, partitioned, seq, purge_seq, docs, deleted, \
                       external, stale, revs_limit, purged_limit, security";

fn from_row(row: &Row<'_>) -> rusqlite::Result<Database> {
    Ok(Database {
        id: row.get(0)?,
        name: row.get(1)?,
        uuid: row.get(2)?,
        created: row.get(3)?,
        shards: row.get(4)?,
        partitioned: row.get(5)?,
        seq: row.get(6)?,
        purge_seq: row.get(7)?,
        docs: row.get(8)?,
        deleted: row.get(9)?,
        external: row.get(10)?,
        stale: row.get(11)?,
        revs_limit: row.get(12)?,
        purged_limit: row.get(13)?,
        security: row.get(14)?,
        just_stored: None,
    })
}

/// Finds a database.
pub(crate) fn open(conn: &Connection, name: &str) -> Result<Database, Failure> {
    conn.prepare_cached(&format!("SELECT {COLUMNS} FROM dbs WHERE name = ?1"))?
        .query_row([name], from_row)
        .optional()?
        .ok_or_else(Failure::no_database)
}

impl Database {
    /// A place in the feed, as clients see it: opaque behind the number.
    pub(crate) fn seq_text(&self, seq: i64) -> String {
        format!("{seq}-{}", self.uuid)
    }

    /// Reads a place in the feed. One of an earlier database of this name means its beginning.
    pub(crate) fn parse_seq(&self, text: &str) -> Result<i64, Failure> {
        let malformed =
            || Failure::bad_request("Malformed sequence supplied in 'since' parameter.");
        match text.split_once('-') {
            None => text.parse().map_err(|_| malformed()),
            Some((number, opaque)) => {
                let number: i64 = number.parse().map_err(|_| malformed())?;
                Ok(if opaque == self.uuid { number } else { 0 })
            }
        }
    }

    /// What `GET /{db}` answers.
    pub(crate) fn info(&self) -> Json {
        let file = 16_700 + self.external * 2;
        let props = if self.partitioned {
            obj([("partitioned", true.into())])
        } else {
            obj([])
        };
        obj([
            ("instance_start_time", self.created.to_string().into()),
            ("db_name", self.name.as_str().into()),
            ("purge_seq", self.seq_text(self.purge_seq).into()),
            ("update_seq", self.seq_text(self.seq).into()),
            (
                "sizes",
                obj([
                    ("file", file.into()),
                    ("external", self.external.into()),
                    (
                        "active",
                        (self.external + (self.docs + self.deleted) * 100).into(),
                    ),
                ]),
            ),
            ("props", props),
            ("doc_del_count", self.deleted.into()),
            ("doc_count", self.docs.into()),
            ("disk_format_version", 8_i64.into()),
            ("compact_running", false.into()),
            (
                "cluster",
                obj([
                    ("q", self.shards.into()),
                    ("n", 1_i64.into()),
                    ("w", 1_i64.into()),
                    ("r", 1_i64.into()),
                ]),
            ),
        ])
    }

    /// Writes back what a request changed.
    pub(crate) fn store(&self, writing: &mut Writing<'_>) -> Result<(), Failure> {
        writing
            .conn
            .prepare_cached(
                "UPDATE dbs SET seq = ?2, purge_seq = ?3, docs = ?4, deleted = ?5, external = ?6, \
                 stale = ?7, revs_limit = ?8, purged_limit = ?9, security = ?10 WHERE id = ?1",
            )?
            .execute(params![
                self.id,
                self.seq,
                self.purge_seq,
                self.docs,
                self.deleted,
                self.external,
                self.stale,
                self.revs_limit,
                self.purged_limit,
                self.security,
            ])?;
        writing.touch(self.id);
        Ok(())
    }
}

/// What a new database is made with.
pub(crate) struct NewDatabase {
    pub(crate) name: String,
    pub(crate) shards: i64,
    pub(crate) partitioned: bool,
    /// Seconds since the epoch.
    pub(crate) now: i64,
}

/// Makes a database.
pub(crate) fn create(writing: &mut Writing<'_>, new: &NewDatabase) -> Result<(), Failure> {
    let made = writing
        .conn
        .prepare_cached(
            "INSERT INTO dbs (name, uuid, created, shards, partitioned) VALUES (?1, ?2, ?3, ?4, ?5) \
             ON CONFLICT (name) DO NOTHING",
        )?
        .execute(params![
            new.name,
            uuid::Uuid::new_v4().simple().to_string(),
            new.now,
            new.shards,
            new.partitioned
        ])?;
    if made == 0 {
        return Err(Failure::new(
            http::StatusCode::PRECONDITION_FAILED,
            "file_exists",
            "The database could not be created, the file already exists.",
        ));
    }
    Ok(())
}

/// Removes a database at once; what it held is swept later, out of everybody's sight.
pub(crate) fn delete(writing: &mut Writing<'_>, name: &str) -> Result<(), Failure> {
    let db = open(writing.conn, name)?;
    writing
        .conn
        .prepare_cached("DELETE FROM dbs WHERE id = ?1")?
        .execute([db.id])?;
    writing
        .conn
        .prepare_cached("INSERT OR REPLACE INTO chores (kind, subject) VALUES ('database', ?1)")?
        .execute([db.id])?;
    writing
        .conn
        .prepare_cached(
            "INSERT OR REPLACE INTO chores (kind, subject) SELECT 'index', id FROM indexes WHERE db = ?1",
        )?
        .execute([db.id])?;
    writing
        .conn
        .prepare_cached("DELETE FROM indexes WHERE db = ?1")?
        .execute([db.id])?;
    writing
        .conn
        .prepare_cached("DELETE FROM locals WHERE db = ?1")?
        .execute([db.id])?;
    writing.indexes.remove(&db.id);
    writing.touch(db.id);
    Ok(())
}

/// Names of databases in byte order, of a range.
pub(crate) struct NameRange {
    pub(crate) start: Option<String>,
    pub(crate) end: Option<String>,
    pub(crate) inclusive_end: bool,
    pub(crate) descending: bool,
    pub(crate) skip: i64,
    pub(crate) limit: i64,
}

/// Lists databases.
pub(crate) fn list(conn: &Connection, range: &NameRange) -> Result<Vec<Database>, Failure> {
    let (low, high, order) = if range.descending {
        (&range.end, &range.start, "DESC")
    } else {
        (&range.start, &range.end, "ASC")
    };
    let (low_op, high_op) = match (range.inclusive_end, range.descending) {
        (true, _) => (">=", "<="),
        (false, true) => (">", "<="),
        (false, false) => (">=", "<"),
    };
    let sql = format!(
        "SELECT {COLUMNS} FROM dbs WHERE (?1 IS NULL OR name {low_op} ?1) AND (?2 IS NULL OR name {high_op} ?2) \
         ORDER BY name {order} LIMIT ?3 OFFSET ?4"
    );
    let mut statement = conn.prepare_cached(&sql)?;
    let rows = statement.query_map(params![low, high, range.limit, range.skip], from_row)?;
    Ok(rows.collect::<Result<_, _>>()?)
}
