//! The feed of a database: each document once, where it changed last.

use std::collections::HashSet;

use rusqlite::{Connection, params};

use crate::{
    failure::Failure,
    json::{Json, write_string},
    mango::{fields, matcher::Matcher, query},
    storage::{
        databases::Database,
        documents::{self, DocRow},
    },
};

/// So much comes from one state of the store.
const PIECE_BYTES: usize = 1024 * 1024;
const PIECE_ROWS: usize = 2000;

/// Which documents a feed tells of.
pub(crate) enum Filter {
    All,
    Ids(HashSet<String>),
    Selector {
        matcher: Matcher,
        fields: Option<Vec<Vec<String>>>,
    },
    Designs,
}

/// What a feed shows of each change.
pub(crate) struct Shape {
    pub(crate) filter: Filter,
    pub(crate) all_leaves: bool,
    pub(crate) include_docs: bool,
    pub(crate) conflicts: bool,
    pub(crate) attachments: bool,
    pub(crate) descending: bool,
    /// What stands before and after each row.
    pub(crate) row: fn(&str, &mut String, first: bool),
}

/// How far a feed has come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    /// Everything up to here has been told, or passed over.
    pub(crate) seq: i64,
    pub(crate) left: i64,
    pub(crate) told: u64,
}

/// What reading a piece came to.
pub(crate) struct Piece {
    pub(crate) text: String,
    pub(crate) place: Place,
    /// Whether nothing is left for now, or the limit is reached.
    pub(crate) end: bool,
    pub(crate) pending: i64,
}

/// Reads on from a place.
pub(crate) fn read(
    conn: &Connection,
    db: &Database,
    shape: &Shape,
    from: Place,
) -> Result<Piece, Failure> {
    let (order, beyond) = if shape.descending {
        ("DESC", "<")
    } else {
        ("ASC", ">")
    };
    let sql = format!(
        "SELECT id FROM docs WHERE db = ?1 AND seq {beyond} ?2 ORDER BY seq {order} LIMIT ?3"
    );
    let mut statement = conn.prepare_cached(&sql)?;
    let mut rows = statement.query(params![
        db.id,
        from.seq,
        i64::try_from(PIECE_ROWS).unwrap_or(i64::MAX)
    ])?;
    let mut place = from;
    let mut text = String::new();
    let mut seen = 0;
    while place.left > 0 {
        let Some(row) = rows.next()? else { break };
        let id: String = row.get(0)?;
        let Some(found) = documents::find(conn, db.id, &id)? else {
            continue;
        };
        seen += 1;
        place.seq = found.seq;
        if let Some(line) = tell(conn, db, shape, &found)? {
            (shape.row)(&line, &mut text, place.told == 0);
            place.told += 1;
            place.left -= 1;
        }
        if text.len() > PIECE_BYTES {
            break;
        }
    }
    let full = seen == PIECE_ROWS || text.len() > PIECE_BYTES;
    let end = place.left <= 0 || !full;
    let pending = if end {
        pending(conn, db, shape, from, &mut place)?
    } else {
        0
    };
    Ok(Piece {
        text,
        place,
        end,
        pending,
    })
}

/// What lies behind the place, as far as CouchDB says so: it does not look which of that would pass a
/// selector, and counts what a list of ids passed over.
fn pending(
    conn: &Connection,
    db: &Database,
    shape: &Shape,
    from: Place,
    place: &mut Place,
) -> Result<i64, Failure> {
    let behind = |seq: i64| -> Result<i64, Failure> {
        let beyond = if shape.descending { "<" } else { ">" };
        Ok(conn
            .prepare_cached(&format!(
                "SELECT count(*) FROM docs WHERE db = ?1 AND seq {beyond} ?2"
            ))?
            .query_row(params![db.id, seq], |row| row.get(0))?)
    };
    let passed_over = match shape.filter {
        Filter::Ids(_) | Filter::Designs => {
            behind(from.seq)? - i64::try_from(place.told - from.told).unwrap_or(0)
        }
        Filter::All | Filter::Selector { .. } => behind(place.seq)?,
    };
    if place.left > 0 && !shape.descending {
        // What was filtered out at the end need not be looked at again.
        place.seq = place.seq.max(db.seq);
    }
    Ok(passed_over)
}

fn tell(
    conn: &Connection,
    db: &Database,
    shape: &Shape,
    row: &DocRow,
) -> Result<Option<String>, Failure> {
    let mut selected = None;
    match &shape.filter {
        Filter::All => {}
        Filter::Ids(ids) if ids.contains(&row.id) => {}
        Filter::Designs if row.id.starts_with("_design/") => {}
        Filter::Selector {
            matcher,
            fields: only,
        } => {
            let doc = query::whole(conn, row, false)?;
            if !matcher.matches(&doc) {
                return Ok(None);
            }
            selected = only
                .as_ref()
                .map(|only| fields::extract(&doc, only).to_string());
        }
        Filter::Ids(_) | Filter::Designs => return Ok(None),
    }
    let mut out = String::from("{\"seq\":");
    write_string(&db.seq_text(row.seq), &mut out);
    out.push_str(",\"id\":");
    write_string(&row.id, &mut out);
    out.push_str(",\"changes\":[");
    let leaves = row.tree.leaves();
    let shown = if shape.all_leaves { leaves.len() } else { 1 };
    for (n, leaf) in leaves.iter().take(shown).enumerate() {
        out.push_str(if n > 0 { ",{\"rev\":" } else { "{\"rev\":" });
        write_string(&leaf.rev.to_string(), &mut out);
        out.push('}');
    }
    out.push(']');
    if row.deleted {
        out.push_str(",\"deleted\":true");
    }
    if shape.include_docs {
        out.push_str(",\"doc\":");
        match selected {
            Some(text) => out.push_str(&text),
            None => out.push_str(&whole(conn, row, shape)?),
        }
    }
    out.push('}');
    Ok(Some(out))
}

fn whole(conn: &Connection, row: &DocRow, shape: &Shape) -> Result<String, Failure> {
    let show = crate::http::Show {
        conflicts: shape.conflicts,
        attachments: shape.attachments,
        ..crate::http::Show::default()
    };
    let Some(winner) = row.tree.winner() else {
        return Ok(Json::Null.to_string());
    };
    Ok(crate::http::show(conn, row, &winner.rev, &show)?.unwrap_or_else(|| Json::Null.to_string()))
}
