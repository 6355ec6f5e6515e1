//! The rows of views, which functions of design documents emit.
//!
//! Design documents of a database with the same functions share their rows. The rows are those of the documents up to a
//! sequence; [`Update`] brings the next ones.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::{
    partitions,
    transaction::Transaction,
    view_blocks::{self, Position, RowChange},
};
use crate::{api_error::ApiError, json::Json, mango::collation};

/// The rows of a design document's views.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Views {
    pub(crate) id: i64,
    /// The rows of all documents up to this sequence are there.
    pub(crate) seq: i64,
}

/// Finds the rows of views.
pub(crate) fn find(conn: &Connection, db: i64, signature: &str) -> Result<Option<Views>, ApiError> {
    Ok(conn
        .prepare_cached("SELECT id, seq FROM views WHERE db = ?1 AND signature = ?2")?
        .query_row(params![db, signature], |row| {
            Ok(Views {
                id: row.get(0)?,
                seq: row.get(1)?,
            })
        })
        .optional()?)
}

/// Makes room for the rows of views, if there is none.
pub(crate) fn create(
    transaction: &Transaction<'_>,
    db: i64,
    signature: &str,
) -> Result<(), ApiError> {
    transaction
        .conn
        .prepare_cached("INSERT OR IGNORE INTO views (db, signature) VALUES (?1, ?2)")?
        .execute(params![db, signature])?;
    Ok(())
}

/// A row that a function emitted.
pub(crate) struct Row {
    /// The position of the view in its design document.
    pub(crate) n: i64,
    pub(crate) key: Json,
    pub(crate) value: Json,
}

/// What functions emitted for the documents after a sequence.
pub(crate) struct Update {
    pub(crate) view: i64,
    pub(crate) from: i64,
    pub(crate) to: i64,
    /// Whether the rows of each partition are together.
    pub(crate) is_partitioned: bool,
    /// Each document with its rows; none if it is deleted.
    pub(crate) documents: Vec<(String, Vec<Row>)>,
}

/// Stores an update, unless another one came first.
pub(crate) fn store(transaction: &Transaction<'_>, update: Update) -> Result<(), ApiError> {
    let conn = transaction.conn;
    let moved = conn
        .prepare_cached("UPDATE views SET seq = ?3 WHERE id = ?1 AND seq = ?2")?
        .execute(params![update.view, update.from, update.to])?;
    if moved == 0 {
        return Ok(());
    }
    let mut changes = Changes::of(conn, update.view)?;
    for (id, rows) in update.documents {
        remove_rows(conn, update.view, &id, &mut changes)?;
        let prefix = if update.is_partitioned {
            partitions::key_prefix_of(&id)
        } else {
            Vec::new()
        };
        add_rows(conn, update.view, &id, &prefix, rows, &mut changes)?;
    }
    changes.touch(conn, update.view)
}

/// The rows that change, if summaries and counts depend on them.
struct Changes(Option<Vec<RowChange>>);

impl Changes {
    fn of(conn: &Connection, view: i64) -> Result<Self, ApiError> {
        let counts = view_blocks::are_there_for_any(conn, view)?;
        Ok(Self(counts.then(Vec::new)))
    }

    fn touch(self, conn: &Connection, view: i64) -> Result<(), ApiError> {
        view_blocks::touch(conn, view, self.0.unwrap_or_default())
    }
}

fn count(conn: &Connection, view: i64, n: i64, difference: i64) -> Result<(), ApiError> {
    conn.prepare_cached(
        "INSERT INTO view_totals (view, n, total) VALUES (?1, ?2, ?3) \
         ON CONFLICT (view, n) DO UPDATE SET total = total + ?3",
    )?
    .execute(params![view, n, difference])?;
    Ok(())
}

fn remove_rows(
    conn: &Connection,
    view: i64,
    id: &str,
    changes: &mut Changes,
) -> Result<(), ApiError> {
    let mut statement = conn.prepare_cached(
        "SELECT n, count(*) FROM view_rows WHERE view = ?1 AND id = ?2 GROUP BY n",
    )?;
    let counts = statement
        .query_map(params![view, id], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<Vec<(i64, i64)>, _>>()?;
    if counts.is_empty() {
        return Ok(());
    }
    for (n, rows) in counts {
        count(conn, view, n, -rows)?;
    }
    if let Changes(Some(changes)) = changes {
        let mut statement =
            conn.prepare_cached("SELECT n, key FROM view_rows WHERE view = ?1 AND id = ?2")?;
        let mut rows = statement.query(params![view, id])?;
        while let Some(row) = rows.next()? {
            let position = Position {
                key: row.get(1)?,
                id: id.to_owned(),
            };
            changes.push(RowChange {
                n: row.get(0)?,
                at: position,
                difference: -1,
            });
        }
    }
    conn.prepare_cached("DELETE FROM view_rows WHERE view = ?1 AND id = ?2")?
        .execute(params![view, id])?;
    Ok(())
}

fn add_rows(
    conn: &Connection,
    view: i64,
    id: &str,
    prefix: &[u8],
    rows: Vec<Row>,
    changes: &mut Changes,
) -> Result<(), ApiError> {
    let mut keyed: Vec<(i64, Vec<u8>, Row)> = rows
        .into_iter()
        .map(|row| {
            let mut key = prefix.to_vec();
            collation::encode(&row.key, &mut key);
            (row.n, key, row)
        })
        .collect();
    // CouchDB orders rows of one document with equal keys by their values, as Erlang does.
    keyed.sort_by(|(a_n, a_key, a), (b_n, b_key, b)| {
        (a_n, a_key)
            .cmp(&(b_n, b_key))
            .then_with(|| crate::erlang::compare(&a.value, &b.value))
    });
    let mut insert = conn.prepare_cached(
        "INSERT INTO view_rows (view, n, key, id, place, emitted, value) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?;
    let mut added: Vec<(i64, i64)> = Vec::new();
    if let Changes(Some(changes)) = changes {
        changes.extend(keyed.iter().map(|(n, key, _)| RowChange {
            n: *n,
            at: Position {
                key: key.clone(),
                id: id.to_owned(),
            },
            difference: 1,
        }));
    }
    for (place, (n, key, row)) in keyed.into_iter().enumerate() {
        insert.execute(params![
            view,
            n,
            key,
            id,
            i64::try_from(place).unwrap_or(i64::MAX),
            row.key.to_string(),
            row.value.to_string(),
        ])?;
        match added.last_mut() {
            Some((last, rows)) if *last == n => *rows += 1,
            _ => added.push((n, 1)),
        }
    }
    for (n, rows) in added {
        count(conn, view, n, rows)?;
    }
    Ok(())
}

/// Removes the rows of a document that is purged.
pub(crate) fn forget(transaction: &Transaction<'_>, db: i64, id: &str) -> Result<(), ApiError> {
    for view in of(transaction.conn, db)? {
        let mut changes = Changes::of(transaction.conn, view)?;
        remove_rows(transaction.conn, view, id, &mut changes)?;
        changes.touch(transaction.conn, view)?;
    }
    Ok(())
}

fn of(conn: &Connection, db: i64) -> Result<Vec<i64>, ApiError> {
    let mut statement = conn.prepare_cached("SELECT id FROM views WHERE db = ?1")?;
    let rows = statement.query_map([db], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Drops the rows of all views of a database.
pub(crate) fn drop_all(transaction: &Transaction<'_>, db: i64) -> Result<(), ApiError> {
    drop_others(transaction, db, &[])
}

/// Drops the rows of the views whose signature is not one of these. Chores remove the rows.
pub(crate) fn drop_others(
    transaction: &Transaction<'_>,
    db: i64,
    signatures: &[String],
) -> Result<(), ApiError> {
    let mut statement = transaction
        .conn
        .prepare_cached("SELECT id, signature FROM views WHERE db = ?1")?;
    let all = statement
        .query_map([db], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<Vec<(i64, String)>, _>>()?;
    for (view, _) in all
        .into_iter()
        .filter(|(_, signature)| !signatures.contains(signature))
    {
        transaction
            .conn
            .prepare_cached("DELETE FROM views WHERE id = ?1")?
            .execute([view])?;
        transaction
            .conn
            .prepare_cached("INSERT OR REPLACE INTO chores (kind, subject) VALUES ('view', ?1)")?
            .execute([view])?;
    }
    Ok(())
}

/// Removes some of the rows of views that were dropped. Returns whether there are more.
pub(crate) fn sweep(conn: &Connection, view: i64, most: i64) -> Result<bool, ApiError> {
    let swept = conn
        .prepare_cached(
            "DELETE FROM view_rows WHERE (view, n, key, id, place) IN \
             (SELECT view, n, key, id, place FROM view_rows WHERE view = ?1 LIMIT ?2)",
        )?
        .execute(params![view, most])?;
    if i64::try_from(swept).unwrap_or(i64::MAX) >= most {
        return Ok(true);
    }
    conn.prepare_cached("DELETE FROM view_totals WHERE view = ?1")?
        .execute([view])?;
    conn.prepare_cached("DELETE FROM view_blocks WHERE view = ?1")?
        .execute([view])?;
    Ok(false)
}

/// The number of rows of a view.
pub(crate) fn total(conn: &Connection, view: i64, n: i64) -> Result<i64, ApiError> {
    let found = conn
        .prepare_cached("SELECT total FROM view_totals WHERE view = ?1 AND n = ?2")?
        .query_row(params![view, n], |row| row.get(0))
        .optional()?;
    Ok(found.unwrap_or(0))
}
