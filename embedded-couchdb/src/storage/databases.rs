//! Databases, which are rows of one table.

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::{db_updates, transaction::Transaction, views};
use crate::{
    api_error::ApiError,
    json::{Json, obj},
};

/// The row of a database.
#[derive(Clone, Debug)]
pub(crate) struct Database {
    pub(crate) id: i64,
    pub(crate) name: String,
    /// Distinguishes this database from an earlier one of the same name.
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
    /// The document that the request stored last. Further revisions of it get the same sequence.
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
pub(crate) fn open(conn: &Connection, name: &str) -> Result<Database, ApiError> {
    conn.prepare_cached(&format!("SELECT {COLUMNS} FROM dbs WHERE name = ?1"))?
        .query_row([name], from_row)
        .optional()?
        .ok_or_else(ApiError::no_database)
}

impl Database {
    /// A sequence as clients see it: the number and an opaque part.
    pub(crate) fn seq_text(&self, seq: i64) -> String {
        format!("{seq}-{}", self.uuid)
    }

    /// Parses a sequence. A sequence of an earlier database of this name stands for the beginning.
    pub(crate) fn parse_seq(&self, text: &str) -> Result<i64, ApiError> {
        let malformed =
            || ApiError::bad_request("Malformed sequence supplied in 'since' parameter.");
        match text.split_once('-') {
            // The opaque parts of all servers are longer than this.
            None => Err(malformed()),
            Some((_, opaque)) if opaque.len() < 16 => Err(malformed()),
            Some((number, opaque)) => {
                let number: i64 = number.parse().map_err(|_| malformed())?;
                Ok(if opaque == self.uuid { number } else { 0 })
            }
        }
    }

    /// Who may do what: the value of `_security`.
    pub(crate) fn security(&self) -> Json {
        let stored = self.security.as_deref();
        let parsed = stored.and_then(|text| Json::parse(text.as_bytes()).ok());
        // Without one, only server administrators have access, as by CouchDB's default.
        parsed.unwrap_or_else(|| {
            let admins = || obj([("roles", Json::Arr(vec!["_admin".into()]))]);
            obj([("members", admins()), ("admins", admins())])
        })
    }

    /// The response of `GET /{db}`.
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

    /// Stores the changed fields.
    pub(crate) fn store(&self, transaction: &mut Transaction<'_>) -> Result<(), ApiError> {
        transaction
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
        transaction.touch(self.id);
        Ok(())
    }
}

/// The parameters of a new database.
pub(crate) struct NewDatabase {
    pub(crate) name: String,
    pub(crate) shards: i64,
    pub(crate) partitioned: bool,
    /// Seconds since the epoch.
    pub(crate) now: i64,
}

/// Creates a database.
pub(crate) fn create(transaction: &mut Transaction<'_>, new: &NewDatabase) -> Result<(), ApiError> {
    let made = transaction
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
        return Err(ApiError::new(
            http::StatusCode::PRECONDITION_FAILED,
            "file_exists",
            "The database could not be created, the file already exists.",
        ));
    }
    if new.name == db_updates::GLOBAL_CHANGES {
        transaction
            .conn
            .prepare_cached("UPDATE dbs SET revs_limit = ?2 WHERE name = ?1")?
            .execute(params![new.name, db_updates::REVS_LIMIT])?;
    }
    db_updates::record(transaction, "created", &new.name)
}

/// Removes the row of a database. Chores delete its documents later.
pub(crate) fn delete(transaction: &mut Transaction<'_>, name: &str) -> Result<(), ApiError> {
    let db = open(transaction.conn, name)?;
    transaction
        .conn
        .prepare_cached("DELETE FROM dbs WHERE id = ?1")?
        .execute([db.id])?;
    transaction
        .conn
        .prepare_cached("INSERT OR REPLACE INTO chores (kind, subject) VALUES ('database', ?1)")?
        .execute([db.id])?;
    transaction
        .conn
        .prepare_cached(
            "INSERT OR REPLACE INTO chores (kind, subject) SELECT 'index', id FROM indexes WHERE db = ?1",
        )?
        .execute([db.id])?;
    transaction
        .conn
        .prepare_cached("DELETE FROM indexes WHERE db = ?1")?
        .execute([db.id])?;
    transaction
        .conn
        .prepare_cached("DELETE FROM validators WHERE db = ?1")?
        .execute([db.id])?;
    views::drop_all(transaction, db.id)?;
    transaction
        .conn
        .prepare_cached("DELETE FROM locals WHERE db = ?1")?
        .execute([db.id])?;
    transaction.indexes.remove(&db.id);
    transaction.touch(db.id);
    db_updates::record(transaction, "deleted", name)
}

/// A range of database names in byte order.
pub(crate) struct NameRange {
    pub(crate) start: Option<String>,
    pub(crate) end: Option<String>,
    pub(crate) inclusive_end: bool,
    pub(crate) descending: bool,
    pub(crate) skip: i64,
    pub(crate) limit: i64,
}

/// The databases in a range.
pub(crate) fn list(conn: &Connection, range: &NameRange) -> Result<Vec<Database>, ApiError> {
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
