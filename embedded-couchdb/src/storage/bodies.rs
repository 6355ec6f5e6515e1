//! The texts of bodies. Equal ones of design documents are stored once: thousands of databases have the same.

use ring::digest::{SHA256, digest};
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::api_error::ApiError;

/// Stores a body, and returns its row.
pub(super) fn insert(
    conn: &Connection,
    text: &str,
    attachments: Option<&str>,
) -> Result<i64, ApiError> {
    conn.prepare_cached("INSERT INTO bodies (body, attachments) VALUES (?1, ?2)")?
        .execute(params![text, attachments])?;
    Ok(conn.last_insert_rowid())
}

/// The row of a body that may belong to several documents. [`release_shared`] ends the use of it.
pub(super) fn share(conn: &Connection, text: &str) -> Result<i64, ApiError> {
    let sum = digest(&SHA256, text.as_bytes());
    let there: Option<i64> = conn
        .prepare_cached("SELECT body FROM shared_bodies WHERE digest = ?1")?
        .query_row([sum.as_ref()], |row| row.get(0))
        .optional()?;
    if let Some(row) = there {
        conn.prepare_cached("UPDATE bodies SET refs = refs + 1 WHERE id = ?1")?
            .execute([row])?;
        return Ok(row);
    }
    conn.prepare_cached("INSERT INTO bodies (body, refs) VALUES (?1, 1)")?
        .execute([text])?;
    let row = conn.last_insert_rowid();
    conn.prepare_cached("INSERT INTO shared_bodies (digest, body) VALUES (?1, ?2)")?
        .execute(params![sum.as_ref(), row])?;
    Ok(row)
}

/// Ends one use of a shared body, and removes the body with the last one. Returns whether the body is a shared one.
pub(super) fn release_shared(conn: &Connection, row: i64) -> Result<bool, ApiError> {
    let refs: Option<i64> = conn
        .prepare_cached("SELECT refs FROM bodies WHERE id = ?1")?
        .query_row([row], |row| row.get(0))?;
    match refs {
        None => return Ok(false),
        Some(refs) if refs > 1 => {
            conn.prepare_cached("UPDATE bodies SET refs = refs - 1 WHERE id = ?1")?
                .execute([row])?;
        }
        Some(_) => {
            let text: String = conn
                .prepare_cached("SELECT body FROM bodies WHERE id = ?1")?
                .query_row([row], |row| row.get(0))?;
            let sum = digest(&SHA256, text.as_bytes());
            conn.prepare_cached("DELETE FROM shared_bodies WHERE digest = ?1")?
                .execute([sum.as_ref()])?;
            conn.prepare_cached("DELETE FROM bodies WHERE id = ?1")?
                .execute([row])?;
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use super::{insert, release_shared, share};
    use crate::storage::schema;

    #[test]
    fn a_shared_body_is_removed_with_its_last_use() {
        let place = tempfile::tempdir().unwrap();
        let conn = schema::open_writer(&place.path().join("couch.sqlite"), None).unwrap();
        let first = share(&conn, "{}").unwrap();
        assert_eq!(share(&conn, "{}").unwrap(), first);
        assert_ne!(share(&conn, r#"{"a":1}"#).unwrap(), first);
        let alone = insert(&conn, "{}", None).unwrap();
        assert_ne!(alone, first);
        assert!(!release_shared(&conn, alone).unwrap());

        let count = |table: &str| -> i64 {
            conn.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| {
                row.get(0)
            })
            .unwrap()
        };
        assert!(release_shared(&conn, first).unwrap());
        assert_eq!((count("bodies"), count("shared_bodies")), (3, 2));
        assert!(release_shared(&conn, first).unwrap());
        assert_eq!((count("bodies"), count("shared_bodies")), (2, 1));
        assert_ne!(share(&conn, "{}").unwrap(), alone);
    }
}
