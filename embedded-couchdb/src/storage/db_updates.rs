//! What happened to databases, as documents of the database `_global_changes`: `created:NAME`, `updated:NAME` and
//! `deleted:NAME`. Nothing is recorded while there is no such database.
//!
//! Source: CouchDB's documentation of `/_db_updates`.

use rusqlite::{Connection, OptionalExtension as _};

use super::{
    databases::{self, Database},
    documents::{self, NewDoc, Origin},
    transaction::Transaction,
};
use crate::api_error::ApiError;

/// The database that holds the records.
pub(crate) const GLOBAL_CHANGES: &str = "_global_changes";

/// How many revisions of a record are known. Nobody edits records, so a long history is of no use.
pub(super) const REVS_LIMIT: i64 = 10;

/// Records that a database was `created` or `deleted`.
pub(super) fn record(
    transaction: &mut Transaction<'_>,
    event: &str,
    name: &str,
) -> Result<(), ApiError> {
    match records(transaction.conn)? {
        Some(mut records) if name != GLOBAL_CHANGES => {
            write(transaction, &mut records, event, name)?;
            records.store(transaction)
        }
        _ => Ok(()),
    }
}

/// Records that these databases were changed. Those that are gone are left out.
pub(super) fn record_updates(
    transaction: &mut Transaction<'_>,
    changed: &[i64],
) -> Result<(), ApiError> {
    if changed.is_empty() {
        return Ok(());
    }
    let Some(mut records) = records(transaction.conn)? else {
        return Ok(());
    };
    for db in changed {
        if *db == records.id {
            continue;
        }
        let name: Option<String> = transaction
            .conn
            .prepare_cached("SELECT name FROM dbs WHERE id = ?1")?
            .query_row([db], |row| row.get(0))
            .optional()?;
        if let Some(name) = name {
            write(transaction, &mut records, "updated", &name)?;
        }
    }
    records.store(transaction)
}

fn records(conn: &Connection) -> Result<Option<Database>, ApiError> {
    match databases::open(conn, GLOBAL_CHANGES) {
        Ok(records) => Ok(Some(records)),
        Err(error) if error.status == http::StatusCode::NOT_FOUND => Ok(None),
        Err(error) => Err(error),
    }
}

fn write(
    transaction: &mut Transaction<'_>,
    records: &mut Database,
    event: &str,
    name: &str,
) -> Result<(), ApiError> {
    let id = format!("{event}:{name}");
    let there = documents::find(transaction.conn, records.id, &id)?;
    let last = there.and_then(|row| row.tree.winner().map(|node| node.rev.clone()));
    let record = NewDoc {
        id,
        deleted: false,
        body: Vec::new(),
        attachments: Vec::new(),
        history: last.into_iter().collect(),
    };
    documents::save(transaction, records, &record, Origin::Edit)?;
    Ok(())
}
