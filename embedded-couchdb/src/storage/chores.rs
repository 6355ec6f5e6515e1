//! Chores: background work in small steps between requests, resumed after a restart.
//!
//! Chores delete the documents of deleted databases and the rows of dropped indexes, build indexes over
//! existing documents, and compact databases.

use std::{collections::HashMap, sync::Arc};

use rusqlite::{Connection, OptionalExtension as _, params};

use super::{documents, index_def::IndexDef, indexes, revtree::RevTree};
use crate::api_error::ApiError;

/// Documents per step.
const STEP_SIZE: i64 = 500;

/// The outcome of a step.
pub(crate) enum ChoreProgress {
    Idle,
    Ongoing,
    /// A chore has ended.
    Finished,
}

/// Runs a step of the next chore, in its own transaction.
pub(crate) fn run_step(
    conn: &Connection,
    cache: &mut HashMap<i64, Arc<Vec<IndexDef>>>,
) -> Result<ChoreProgress, ApiError> {
    // A query may be waiting for an index, but nothing waits for the other chores.
    let next: Option<(String, i64, String)> = conn
        .prepare_cached(
            "SELECT kind, subject, done_to FROM chores ORDER BY kind = 'build' DESC LIMIT 1",
        )?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let Some((kind, subject, done_to)) = next else {
        return Ok(ChoreProgress::Idle);
    };
    conn.execute_batch("BEGIN IMMEDIATE")?;
    let goes_on = match kind.as_str() {
        "database" => sweep_database(conn, subject)?,
        "index" => sweep_index(conn, subject)?,
        "build" => build(conn, subject, &done_to)?,
        "compact" => compact(conn, subject, &done_to)?,
        _ => None,
    };
    match &goes_on {
        Some(done_to) => conn
            .prepare_cached("UPDATE chores SET done_to = ?3 WHERE kind = ?1 AND subject = ?2")?
            .execute(params![kind, subject, done_to])?,
        None => conn
            .prepare_cached("DELETE FROM chores WHERE kind = ?1 AND subject = ?2")?
            .execute(params![kind, subject])?,
    };
    conn.execute_batch("COMMIT")?;
    if goes_on.is_some() {
        return Ok(ChoreProgress::Ongoing);
    }
    cache.clear();
    Ok(ChoreProgress::Finished)
}

fn trees(conn: &Connection, db: i64, after: &str) -> Result<Vec<(String, RevTree)>, ApiError> {
    let mut statement = conn.prepare_cached(
        "SELECT id, tree FROM docs WHERE db = ?1 AND id > ?2 ORDER BY id LIMIT ?3",
    )?;
    let mut rows = statement.query(params![db, after, STEP_SIZE])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let tree: Vec<u8> = row.get(1)?;
        found.push((row.get(0)?, documents::tree(&tree)?));
    }
    Ok(found)
}

fn sweep_database(conn: &Connection, db: i64) -> Result<Option<String>, ApiError> {
    let found = trees(conn, db, "")?;
    for (id, tree) in &found {
        for node in tree.nodes() {
            if let Some(body) = node.stored.and_then(|stored| stored.body) {
                documents::drop_body(conn, body)?;
            }
        }
        conn.prepare_cached("DELETE FROM docs WHERE db = ?1 AND id = ?2")?
            .execute(params![db, id])?;
    }
    Ok((!found.is_empty()).then(String::new))
}

fn sweep_index(conn: &Connection, index: i64) -> Result<Option<String>, ApiError> {
    let swept = conn
        .prepare_cached(
            "DELETE FROM index_rows WHERE (idx, key, id) IN \
             (SELECT idx, key, id FROM index_rows WHERE idx = ?1 LIMIT ?2)",
        )?
        .execute(params![index, STEP_SIZE * 4])?;
    Ok((swept > 0).then(String::new))
}

fn build(conn: &Connection, index: i64, done_to: &str) -> Result<Option<String>, ApiError> {
    let db: Option<i64> = conn
        .prepare_cached("SELECT db FROM indexes WHERE id = ?1")?
        .query_row([index], |row| row.get(0))
        .optional()?;
    let Some(db) = db else {
        return Ok(None);
    };
    let all = indexes::of(conn, db)?;
    let Some(def) = all.iter().find(|def| def.id == index) else {
        return Ok(None);
    };
    let mut statement = conn.prepare_cached(
        "SELECT docs.id, docs.tree, bodies.body, bodies.attachments, docs.deleted FROM docs LEFT JOIN bodies \
         ON bodies.id = docs.body WHERE docs.db = ?1 AND docs.id > ?2 ORDER BY docs.id LIMIT ?3",
    )?;
    let mut rows = statement.query(params![db, done_to, STEP_SIZE])?;
    let mut last = None;
    while let Some(row) = rows.next()? {
        let id: String = row.get(0)?;
        if !row.get::<_, bool>(4)? {
            let tree: Vec<u8> = row.get(1)?;
            let body: String = row.get(2)?;
            let attachments: Option<String> = row.get(3)?;
            let tree = documents::tree(&tree)?;
            let doc = documents::for_index(&id, &tree, &body, attachments.as_deref())?;
            if let Some(key) = def.key(&doc) {
                indexes::add_row(conn, index, &key, &id)?;
            }
        }
        last = Some(id);
    }
    if last.is_none() {
        conn.prepare_cached("UPDATE indexes SET ready = 1 WHERE id = ?1")?
            .execute([index])?;
    }
    Ok(last)
}

fn compact(conn: &Connection, db: i64, done_to: &str) -> Result<Option<String>, ApiError> {
    let found = trees(conn, db, done_to)?;
    let mut last = None;
    for (id, mut tree) in found {
        let bodies = tree.compact();
        if !bodies.is_empty() {
            for body in bodies {
                documents::drop_body(conn, body)?;
            }
            conn.prepare_cached("UPDATE docs SET tree = ?3 WHERE db = ?1 AND id = ?2")?
                .execute(params![db, id, tree.encode()])?;
        }
        last = Some(id);
    }
    if last.is_none() {
        conn.prepare_cached("UPDATE dbs SET stale = 0 WHERE id = ?1")?
            .execute([db])?;
    }
    Ok(last)
}
