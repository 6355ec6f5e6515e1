//! Mango indexes: their definitions, from design documents, and their rows.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension as _, params};

use super::{
    databases::Database, documents, index_def::IndexDef, partitions, transaction::Transaction,
};
use crate::{api_error::ApiError, json::Json};

/// An index on a database with at most so many documents, and at most so many bytes in them, is built in the write that
/// defines it. That costs about a millisecond.
const SMALL_DOCUMENTS: i64 = 200;
const SMALL_BYTES: i64 = 256 * 1024;

/// The index definitions in a design document: the name and `map` of each.
fn defined(ddoc: &Json) -> Vec<(&str, &Json)> {
    if ddoc.get("language").and_then(Json::as_str) != Some("query") {
        return Vec::new();
    }
    let views = ddoc.get("views").and_then(Json::as_obj).unwrap_or_default();
    views
        .iter()
        .filter(|(_, view)| {
            view.get("options")
                .is_some_and(|options| options.as_obj().is_some())
        })
        .filter_map(|(name, view)| Some((name.as_str(), view.get("map")?)))
        .filter(|(name, map)| IndexDef::new(0, "", name, map, false).is_some())
        .collect()
}

/// The indexes of a database.
pub(crate) fn of(conn: &Connection, db: i64) -> Result<Vec<IndexDef>, ApiError> {
    let mut statement = conn.prepare_cached(
        "SELECT id, ddoc, name, def, ready FROM indexes WHERE db = ?1 ORDER BY ddoc, name",
    )?;
    let mut rows = statement.query([db])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let (id, ddoc, name, def): (i64, String, String, String) =
            (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
        let map = Json::parse(def.as_bytes()).map_err(|_| damaged())?;
        found.push(IndexDef::new(id, &ddoc, &name, &map, row.get(4)?).ok_or_else(damaged)?);
    }
    Ok(found)
}

/// The indexes of a database, with the scope that each has if the database is partitioned.
pub(crate) fn scoped(conn: &Connection, db: &Database) -> Result<Vec<IndexDef>, ApiError> {
    let mut defs = of(conn, db.id)?;
    if db.partitioned {
        for def in &mut defs {
            let row = documents::find(conn, db.id, &def.ddoc)?.and_then(|row| row.body);
            let Some(row) = row else { continue };
            let members = documents::members(&documents::body(conn, row)?.text)?;
            def.partitioned = partitions::is_for_one(&Json::Obj(members));
        }
    }
    Ok(defs)
}

/// How many bytes the rows of an index have. Of a large one, not all are counted.
pub(crate) fn bytes(conn: &Connection, index: i64) -> Result<i64, ApiError> {
    Ok(conn
        .prepare_cached(
            "SELECT coalesce(sum(length(key) + length(id)), 0) \
             FROM (SELECT key, id FROM index_rows WHERE idx = ?1 LIMIT 100000)",
        )?
        .query_row([index], |row| row.get(0))?)
}

fn damaged() -> ApiError {
    ApiError::internal("a stored index definition cannot be read")
}

/// The indexes of a database, from the cache of the writer.
pub(crate) fn cached(
    transaction: &mut Transaction<'_>,
    db: i64,
) -> Result<Arc<Vec<IndexDef>>, ApiError> {
    if let Some(found) = transaction.indexes.get(&db) {
        return Ok(Arc::clone(found));
    }
    // There may be tens of thousands of databases: the cache is bounded.
    if transaction.indexes.len() >= 1024 {
        transaction.indexes.clear();
    }
    let found = Arc::new(of(transaction.conn, db)?);
    transaction.indexes.insert(db, Arc::clone(&found));
    Ok(found)
}

/// Updates the rows of a document.
pub(crate) fn update(
    transaction: &mut Transaction<'_>,
    indexes: &[IndexDef],
    id: &str,
    before: Option<&Json>,
    after: Option<&Json>,
) -> Result<(), ApiError> {
    for index in indexes {
        let old = before.and_then(|doc| index.key(doc));
        let new = after.and_then(|doc| index.key(doc));
        if old == new && index.ready {
            continue;
        }
        if let Some(old) = old {
            transaction
                .conn
                .prepare_cached("DELETE FROM index_rows WHERE idx = ?1 AND key = ?2 AND id = ?3")?
                .execute(params![index.id, old, id])?;
        }
        if let Some(new) = new {
            add_row(transaction.conn, index.id, &new, id)?;
        }
    }
    Ok(())
}

/// Adds a row, if it is missing.
pub(crate) fn add_row(conn: &Connection, index: i64, key: &[u8], id: &str) -> Result<(), ApiError> {
    conn.prepare_cached("INSERT OR IGNORE INTO index_rows (idx, key, id) VALUES (?1, ?2, ?3)")?
        .execute(params![index, key, id])?;
    Ok(())
}

/// Creates the indexes that a design document defines now, and drops those that it no longer defines.
pub(crate) fn follow_design_document(
    transaction: &mut Transaction<'_>,
    db: &Database,
    id: &str,
    body: Option<&Json>,
) -> Result<(), ApiError> {
    let wanted = body.map(defined).unwrap_or_default();
    let mut statement = transaction
        .conn
        .prepare_cached("SELECT id, name, def FROM indexes WHERE db = ?1 AND ddoc = ?2")?;
    let there: Vec<(i64, String, String)> = statement
        .query_map(params![db.id, id], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })?
        .collect::<Result<_, _>>()?;
    let unchanged = |name: &str, def: &str| {
        wanted
            .iter()
            .any(|(other, map)| *other == name && map.to_string() == def)
    };
    for (index, name, def) in &there {
        if !unchanged(name, def) {
            transaction
                .conn
                .prepare_cached("DELETE FROM indexes WHERE id = ?1")?
                .execute([index])?;
            transaction
                .conn
                .prepare_cached("INSERT INTO chores (kind, subject) VALUES ('index', ?1)")?
                .execute([index])?;
        }
    }
    for (name, map) in wanted {
        let def = map.to_string();
        if there
            .iter()
            .any(|(_, other, old)| other == name && *old == def)
        {
            continue;
        }
        transaction
            .conn
            .prepare_cached(
                "INSERT INTO indexes (db, ddoc, name, def, ready) VALUES (?1, ?2, ?3, ?4, 0)",
            )?
            .execute(params![db.id, id, name, def])?;
        let index = transaction.conn.last_insert_rowid();
        let is_small = db.docs + db.deleted <= SMALL_DOCUMENTS && db.external <= SMALL_BYTES;
        if is_small {
            let def = IndexDef::new(index, id, name, map, false).ok_or_else(damaged)?;
            build(transaction.conn, db.id, &def, "", || false)?;
        } else {
            transaction
                .conn
                .prepare_cached("INSERT INTO chores (kind, subject) VALUES ('build', ?1)")?
                .execute([index])?;
        }
    }
    transaction.indexes.remove(&db.id);
    Ok(())
}

/// Adds the rows of the documents after `after`, in the order of their ids, until `is_over`. Returns the id of the last
/// document; `None` if the index is complete, which is stored.
pub(crate) fn build(
    conn: &Connection,
    db: i64,
    index: &IndexDef,
    after: &str,
    is_over: impl Fn() -> bool,
) -> Result<Option<String>, ApiError> {
    let mut statement = conn.prepare_cached(
        "SELECT docs.id, docs.tree, bodies.body, bodies.attachments, docs.deleted FROM docs LEFT JOIN bodies \
         ON bodies.id = docs.body WHERE docs.db = ?1 AND docs.id > ?2 ORDER BY docs.id",
    )?;
    let mut rows = statement.query(params![db, after])?;
    while let Some(row) = rows.next()? {
        let id: String = row.get(0)?;
        if !row.get::<_, bool>(4)? && !id.starts_with("_design/") {
            let tree: Vec<u8> = row.get(1)?;
            let body: String = row.get(2)?;
            let attachments: Option<String> = row.get(3)?;
            let tree = documents::tree(&tree)?;
            let doc = documents::for_index(&id, &tree, &body, attachments.as_deref())?;
            if let Some(key) = index.key(&doc) {
                add_row(conn, index.id, &key, &id)?;
            }
        }
        if is_over() {
            return Ok(Some(id));
        }
    }
    conn.prepare_cached("UPDATE indexes SET ready = 1 WHERE id = ?1")?
        .execute([index.id])?;
    Ok(None)
}

/// Whether an index is complete; `None` if it was dropped.
pub(crate) fn is_ready(conn: &Connection, index: i64) -> Result<Option<bool>, ApiError> {
    Ok(conn
        .prepare_cached("SELECT ready FROM indexes WHERE id = ?1")?
        .query_row([index], |row| row.get(0))
        .optional()?)
}
