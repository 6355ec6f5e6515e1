//! Settings of the server that are stored beside the databases.

use rusqlite::{Connection, OptionalExtension as _};

use super::transaction::Transaction;
use crate::api_error::ApiError;

/// Reads a setting.
pub(crate) fn get(conn: &Connection, name: &str) -> Result<Option<String>, ApiError> {
    Ok(conn
        .prepare_cached("SELECT value FROM settings WHERE name = ?1")?
        .query_row([name], |row| row.get(0))
        .optional()?)
}

/// Writes a setting.
pub(crate) fn set(transaction: &Transaction<'_>, name: &str, value: &str) -> Result<(), ApiError> {
    transaction
        .conn
        .prepare_cached("INSERT OR REPLACE INTO settings (name, value) VALUES (?1, ?2)")?
        .execute([name, value])?;
    Ok(())
}

/// Removes a setting.
pub(crate) fn remove(transaction: &Transaction<'_>, name: &str) -> Result<(), ApiError> {
    transaction
        .conn
        .prepare_cached("DELETE FROM settings WHERE name = ?1")?
        .execute([name])?;
    Ok(())
}
