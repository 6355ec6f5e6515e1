//! Local documents: neither replicated nor listed with the others.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::{databases::Database, writer::Writing};
use crate::failure::Failure;

/// Finds a local document by its whole id (`_local/…`): its revision number and body.
pub(crate) fn find(conn: &Connection, db: i64, id: &str) -> Result<Option<(i64, String)>, Failure> {
    Ok(conn
        .prepare_cached("SELECT rev, body FROM locals WHERE db = ?1 AND id = ?2")?
        .query_row(params![db, id], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?)
}

/// Stores a local document and returns its new revision number.
pub(crate) fn save(
    writing: &Writing<'_>,
    db: &Database,
    id: &str,
    edited: Option<i64>,
    body: &str,
) -> Result<i64, Failure> {
    // CouchDB takes any revision and counts on from it.
    let rev = edited.unwrap_or(0) + 1;
    writing
        .conn
        .prepare_cached(
            "INSERT OR REPLACE INTO locals (db, id, rev, body) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(params![db.id, id, rev, body])?;
    Ok(rev)
}

/// Removes a local document.
pub(crate) fn delete(writing: &Writing<'_>, db: &Database, id: &str) -> Result<(), Failure> {
    find(writing.conn, db.id, id)?.ok_or_else(Failure::missing)?;
    writing
        .conn
        .prepare_cached("DELETE FROM locals WHERE db = ?1 AND id = ?2")?
        .execute(params![db.id, id])?;
    Ok(())
}
