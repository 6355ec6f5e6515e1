//! Local documents, which are neither replicated nor listed.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::{databases::Database, transaction::Transaction};
use crate::api_error::ApiError;

/// The revision number and the body of a local document. `id` includes `_local/`.
pub(crate) fn find(
    conn: &Connection,
    db: i64,
    id: &str,
) -> Result<Option<(i64, String)>, ApiError> {
    Ok(conn
        .prepare_cached("SELECT rev, body FROM locals WHERE db = ?1 AND id = ?2")?
        .query_row(params![db, id], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?)
}

/// Stores a local document and returns its new revision number.
pub(crate) fn save(
    transaction: &Transaction<'_>,
    db: &Database,
    id: &str,
    edited: Option<i64>,
    body: &str,
) -> Result<i64, ApiError> {
    // CouchDB accepts any revision and increments it.
    let rev = edited.unwrap_or(0) + 1;
    transaction
        .conn
        .prepare_cached(
            "INSERT OR REPLACE INTO locals (db, id, rev, body) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(params![db.id, id, rev, body])?;
    Ok(rev)
}

/// Removes a local document.
pub(crate) fn delete(
    transaction: &Transaction<'_>,
    db: &Database,
    id: &str,
) -> Result<(), ApiError> {
    find(transaction.conn, db.id, id)?.ok_or_else(ApiError::missing)?;
    transaction
        .conn
        .prepare_cached("DELETE FROM locals WHERE db = ?1 AND id = ?2")?
        .execute(params![db.id, id])?;
    Ok(())
}
