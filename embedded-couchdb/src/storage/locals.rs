//! Local documents, which are neither replicated nor listed.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::{
    databases::Database,
    documents::{NewDoc, Origin},
    revtree::Rev,
    transaction::Transaction,
};
use crate::{api_error::ApiError, json::Json};

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

/// Stores a local document, or removes one that is said to be deleted, and returns the revision that CouchDB names.
/// Local documents have no revision tree: any number is taken, and the next one is stored.
pub(crate) fn save(
    transaction: &Transaction<'_>,
    db: &Database,
    new: &NewDoc,
    origin: Origin,
) -> Result<Rev, ApiError> {
    if new.deleted {
        remove(transaction, db, &new.id)?;
        return Ok(revision(0));
    }
    let named = match new.history.first() {
        None => 0,
        Some(rev) if rev.pos == 0 => rev.id.parse().map_err(|_| malformed())?,
        Some(_) => return Err(malformed()),
    };
    let next = i64::checked_add(named, 1).ok_or_else(malformed)?;
    transaction
        .conn
        .prepare_cached(
            "INSERT OR REPLACE INTO locals (db, id, rev, body) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(params![
            db.id,
            new.id,
            next,
            Json::Obj(new.body.clone()).to_string()
        ])?;
    Ok(revision(match origin {
        Origin::Edit => next,
        Origin::Replication => named,
    }))
}

/// The revision of a local document.
pub(crate) fn revision(number: i64) -> Rev {
    Rev {
        pos: 0,
        id: number.to_string(),
    }
}

fn malformed() -> ApiError {
    ApiError::new(http::StatusCode::BAD_REQUEST, "error", "Invalid rev format")
}

fn remove(transaction: &Transaction<'_>, db: &Database, id: &str) -> Result<usize, ApiError> {
    Ok(transaction
        .conn
        .prepare_cached("DELETE FROM locals WHERE db = ?1 AND id = ?2")?
        .execute(params![db.id, id])?)
}

/// Removes a local document, which must be there.
pub(crate) fn delete(
    transaction: &Transaction<'_>,
    db: &Database,
    id: &str,
) -> Result<(), ApiError> {
    match remove(transaction, db, id)? {
        0 => Err(ApiError::missing()),
        _ => Ok(()),
    }
}
