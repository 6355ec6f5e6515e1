//! The design documents that have a validation function.

use rusqlite::{Connection, params};

use super::transaction::Transaction;
use crate::{api_error::ApiError, json::Json};

/// The member that holds the function.
pub(crate) const MEMBER: &str = "validate_doc_update";

/// Notes whether a design document has a function; `body` is `None` when the document is gone.
pub(crate) fn follow_design_document(
    transaction: &Transaction<'_>,
    db: i64,
    id: &str,
    body: Option<&Json>,
) -> Result<(), ApiError> {
    let sql = if body.is_some_and(|body| body.get(MEMBER).is_some()) {
        "INSERT OR IGNORE INTO validators (db, ddoc) VALUES (?1, ?2)"
    } else {
        "DELETE FROM validators WHERE db = ?1 AND ddoc = ?2"
    };
    transaction
        .conn
        .prepare_cached(sql)?
        .execute(params![db, id])?;
    Ok(())
}

/// The id and the revision of each design document of a database that has a function.
pub(crate) fn of(conn: &Connection, db: i64) -> Result<Vec<(String, String)>, ApiError> {
    let mut statement = conn.prepare_cached(
        "SELECT validators.ddoc, docs.rev FROM validators JOIN docs \
         ON docs.db = validators.db AND docs.id = validators.ddoc \
         WHERE validators.db = ?1 AND docs.deleted = 0 ORDER BY validators.ddoc",
    )?;
    let rows = statement.query_map([db], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}
