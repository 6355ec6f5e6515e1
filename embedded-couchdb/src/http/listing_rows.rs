//! The rows of listings of documents.

use rusqlite::{Connection, params};

use super::listing::{DocumentSet, Listing};
use crate::{
    api_error::ApiError,
    json::{Json, obj, write_string},
    rendering::{DocOptions, render_revision},
    storage::{databases::Database, documents, partitions},
};

/// The size of a chunk. Each chunk is read in one snapshot of the store, so that a slow client occupies
/// neither memory nor a reader thread.
const CHUNK_BYTES: usize = 2 * 1024 * 1024;

/// The progress of a listing.
pub(super) struct ListingState {
    pub(super) done: bool,
    written: bool,
    left: i64,
    skip: i64,
    /// The id of the last row.
    last: Option<String>,
    /// The index of the next key.
    key: usize,
}

fn count(
    conn: &Connection,
    listing: &Listing,
    sql: &str,
    db: i64,
    id: &str,
) -> Result<i64, ApiError> {
    let alive = if listing.set == DocumentSet::Locals {
        ""
    } else {
        "AND deleted = 0"
    };
    let table = listing.table();
    Ok(conn
        .prepare_cached(&format!(
            "SELECT count(*) FROM {table} WHERE db = ?1 AND id {sql} ?2 {alive}"
        ))?
        .query_row(params![db, id], |row| row.get(0))?)
}

/// Begins the text of a listing.
pub(super) fn begin(
    conn: &Connection,
    db: &Database,
    listing: &Listing,
    out: &mut String,
) -> Result<ListingState, ApiError> {
    if listing.partition.is_some() && !db.partitioned {
        return Err(ApiError::query(
            "`partition` parameter is not supported on this db",
        ));
    }
    for id in listing.keys.iter().flatten().filter_map(Json::as_str) {
        partitions::check_id(db, id)?;
    }
    let total = match listing.set {
        DocumentSet::Documents => Json::Int(db.docs),
        DocumentSet::Designs => {
            let designs = count(conn, listing, ">=", db.id, "_design/")?
                - count(conn, listing, ">=", db.id, "_design0")?;
            Json::Int(designs)
        }
        DocumentSet::Locals => Json::Null,
    };
    let offset = if listing.keys.is_some() || listing.set == DocumentSet::Locals {
        Json::Null
    } else {
        let (low, high) = listing.bounds();
        let before = match (listing.descending, low, high) {
            (false, Some(low), _) => count(conn, listing, "<", db.id, &low)?,
            (true, _, Some(high)) => count(conn, listing, ">", db.id, &high)?,
            _ => 0,
        };
        Json::Int((before + listing.skip).min(total.as_i64().unwrap_or(i64::MAX)))
    };
    out.push('{');
    out.push_str("\"total_rows\":");
    total.write(out);
    out.push_str(",\"offset\":");
    offset.write(out);
    if listing.update_seq {
        out.push_str(",\"update_seq\":");
        // With keys, CouchDB does not know it.
        match listing.set {
            _ if listing.keys.is_some() => Json::Null.write(out),
            DocumentSet::Locals => Json::Null.write(out),
            _ => write_string(&db.seq_text(db.seq), out),
        }
    }
    out.push_str(",\"rows\":[");
    Ok(ListingState {
        done: false,
        written: false,
        left: listing.limit,
        skip: listing.skip,
        last: None,
        key: 0,
    })
}

fn separate(state: &mut ListingState, out: &mut String) {
    out.push_str(if state.written { ",\r\n" } else { "\r\n" });
    state.written = true;
}

fn finish(state: &mut ListingState, out: &mut String) {
    state.done = true;
    // As CouchDB, which writes the end of a line before the first row, there is one without rows too.
    out.push_str(if state.written {
        "\r\n]}"
    } else {
        "\r\n\r\n]}"
    });
}

/// Writes the next rows, and the end after the last.
pub(super) fn rows(
    conn: &Connection,
    db: &Database,
    listing: &Listing,
    state: &mut ListingState,
    out: &mut String,
) -> Result<(), ApiError> {
    match &listing.keys {
        Some(keys) => by_keys(conn, db, listing, keys, state, out),
        None => by_range(conn, db, listing, state, out),
    }
}

fn by_range(
    conn: &Connection,
    db: &Database,
    listing: &Listing,
    state: &mut ListingState,
    out: &mut String,
) -> Result<(), ApiError> {
    let (mut low, mut high) = listing.bounds();
    let mut low_op = if listing.descending && !listing.inclusive_end && listing.end.is_some() {
        ">"
    } else {
        ">="
    };
    let mut high_op = if !listing.descending && !listing.inclusive_end && listing.end.is_some() {
        "<"
    } else {
        "<="
    };
    if let Some(last) = state.last.take() {
        if listing.descending {
            (high, high_op) = (Some(last), "<");
        } else {
            (low, low_op) = (Some(last), ">");
        }
    }
    let order = if listing.descending { "DESC" } else { "ASC" };
    let table = listing.table();
    let (columns, alive) = match listing.set {
        DocumentSet::Locals => ("id, rev, body", ""),
        _ => ("id, rev, body", "AND deleted = 0"),
    };
    let low_sql = if low.is_some() {
        format!("AND id {low_op} ?2")
    } else {
        "AND ?2 IS NULL".to_owned()
    };
    let high_sql = if high.is_some() {
        format!("AND id {high_op} ?3")
    } else {
        "AND ?3 IS NULL".to_owned()
    };
    let sql = format!(
        "SELECT {columns} FROM {table} WHERE db = ?1 {low_sql} {high_sql} {alive} ORDER BY id {order} LIMIT ?4 OFFSET ?5"
    );
    let mut statement = conn.prepare_cached(&sql)?;
    let mut found = statement.query(params![
        db.id,
        low,
        high,
        state.left,
        std::mem::take(&mut state.skip)
    ])?;
    let begun = out.len();
    while let Some(row) = found.next()? {
        let id: String = row.get(0)?;
        separate(state, out);
        if listing.set == DocumentSet::Locals {
            let (rev, body): (i64, String) = (row.get(1)?, row.get(2)?);
            let rev = format!("0-{rev}");
            head(&id, &Json::from(id.as_str()), &rev, false, out);
            if listing.include_docs {
                out.push_str(",\"doc\":");
                out.push_str(&documents::render(&id, &rev, false, &body, &[]));
            }
        } else {
            let rev: String = row.get(1)?;
            head(&id, &Json::from(id.as_str()), &rev, false, out);
            if listing.include_docs {
                out.push_str(",\"doc\":");
                out.push_str(&whole(
                    conn,
                    db,
                    &id,
                    &rev,
                    row.get(2)?,
                    &listing.doc_options,
                )?);
            }
        }
        out.push('}');
        state.left -= 1;
        if out.len() - begun > CHUNK_BYTES {
            state.last = Some(id);
            return Ok(());
        }
    }
    finish(state, out);
    Ok(())
}

fn head(id: &str, key: &Json, rev: &str, deleted: bool, out: &mut String) {
    out.push_str("{\"id\":");
    write_string(id, out);
    out.push_str(",\"key\":");
    key.write(out);
    out.push_str(",\"value\":{\"rev\":");
    write_string(rev, out);
    if deleted {
        out.push_str(",\"deleted\":true");
    }
    out.push('}');
}

fn whole(
    conn: &Connection,
    db: &Database,
    id: &str,
    rev: &str,
    body_row: Option<i64>,
    options: &DocOptions,
) -> Result<String, ApiError> {
    if options.conflicts || options.attachments || options.att_encoding_info {
        let row = documents::find(conn, db.id, id)?.ok_or_else(ApiError::missing)?;
        let rev = crate::storage::revtree::Rev::parse(rev)?;
        return Ok(render_revision(conn, &row, &rev, options)?.unwrap_or_else(|| "null".to_owned()));
    }
    let Some(body_row) = body_row else {
        return Ok("null".to_owned());
    };
    let body = documents::body(conn, body_row)?;
    let mut extra = Vec::new();
    if !body.attachments.is_empty() {
        extra.push(("_attachments", documents::stubs(&body.attachments)));
    }
    Ok(documents::render(id, rev, false, &body.text, &extra))
}

fn by_keys(
    conn: &Connection,
    db: &Database,
    listing: &Listing,
    keys: &[Json],
    state: &mut ListingState,
    out: &mut String,
) -> Result<(), ApiError> {
    let begun = out.len();
    // Rows follow the order of the keys, or its reverse.
    let ordered: Vec<&Json> = if listing.descending {
        keys.iter().rev().collect()
    } else {
        keys.iter().collect()
    };
    let skip = usize::try_from(listing.skip).unwrap_or(usize::MAX);
    for key in ordered.iter().skip(skip.saturating_add(state.key)) {
        if state.left <= 0 {
            break;
        }
        state.left -= 1;
        state.key += 1;
        let is_local = key.as_str().is_some_and(|id| id.starts_with("_local/"));
        if listing.set == DocumentSet::Locals && !is_local {
            continue;
        }
        let is_design = key.as_str().is_some_and(|id| id.starts_with("_design/"));
        if listing.set == DocumentSet::Designs && !is_design {
            continue;
        }
        separate(state, out);
        key_row(conn, db, listing, key, out)?;
        if out.len() - begun > CHUNK_BYTES {
            return Ok(());
        }
    }
    finish(state, out);
    Ok(())
}

fn key_row(
    conn: &Connection,
    db: &Database,
    listing: &Listing,
    key: &Json,
    out: &mut String,
) -> Result<(), ApiError> {
    let missing =
        |out: &mut String| obj([("key", key.clone()), ("error", "not_found".into())]).write(out);
    let Some(id) = key.as_str() else {
        missing(out);
        return Ok(());
    };
    // A listing of documents shows local ones that are named.
    if id.starts_with("_local/") && listing.set != DocumentSet::Designs {
        match crate::storage::locals::find(conn, db.id, id)? {
            Some((rev, body)) => {
                let rev = format!("0-{rev}");
                head(id, key, &rev, false, out);
                if listing.include_docs {
                    out.push_str(",\"doc\":");
                    out.push_str(&documents::render(id, &rev, false, &body, &[]));
                }
                out.push('}');
            }
            None => missing(out),
        }
        return Ok(());
    }
    match documents::find(conn, db.id, id)? {
        Some(row) => {
            head(id, key, &row.rev, row.deleted, out);
            if listing.include_docs {
                out.push_str(",\"doc\":");
                if row.deleted {
                    out.push_str("null");
                } else {
                    out.push_str(&whole(
                        conn,
                        db,
                        id,
                        &row.rev,
                        row.body,
                        &listing.doc_options,
                    )?);
                }
            }
            out.push('}');
        }
        None => missing(out),
    }
    Ok(())
}
