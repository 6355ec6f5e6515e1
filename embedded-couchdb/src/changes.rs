//! The changes feed of a database: each document once, at its latest change.

use std::collections::HashSet;

use rusqlite::{Connection, params};

use crate::{
    api_error::ApiError,
    json::{Json, write_string},
    mango::{fields, matcher::Matcher, query},
    rendering::{DocOptions, render_revision},
    storage::{
        databases::Database,
        documents::{self, DocRow},
        revtree::Rev,
    },
};

/// The most that is read in one snapshot of the store.
const CHUNK_BYTES: usize = 1024 * 1024;
const CHUNK_ROWS: usize = 2000;

/// Which documents a feed reports.
pub(crate) enum Filter {
    All,
    Ids(HashSet<String>),
    Selector {
        matcher: Matcher,
        fields: Option<Vec<Vec<String>>>,
    },
    Designs,
    /// A function of a design document, which judges changes before they are read to be sent.
    Function(Box<Function>),
}

/// A function that filters changes.
pub(crate) struct Function {
    /// The name of the operation.
    pub(crate) operation: &'static str,
    pub(crate) design: Json,
    pub(crate) realm: String,
    pub(crate) path: Json,
    /// The request as the function sees it.
    pub(crate) request: Json,
}

/// A change that a function must judge.
pub(crate) struct Candidate {
    seq: i64,
    id: String,
    revs: Vec<Rev>,
    /// The document of each revision, in JSON.
    pub(crate) docs: Vec<String>,
}

/// The most changes that are judged at once.
const JUDGED_AT_ONCE: i64 = 100;

/// The next changes that a function must judge, and whether there are no more.
pub(crate) fn candidates(
    conn: &Connection,
    db: &Database,
    feed_options: &FeedOptions,
    from: FeedPosition,
) -> Result<(Vec<Candidate>, bool), ApiError> {
    let (order, beyond) = feed_options.order();
    let mut statement = conn.prepare_cached(&format!(
        "SELECT id FROM docs WHERE db = ?1 AND seq {beyond} ?2 ORDER BY seq {order} LIMIT ?3"
    ))?;
    let mut rows = statement.query(params![db.id, from.seq, JUDGED_AT_ONCE])?;
    let mut found = Vec::new();
    let mut bytes = 0;
    let mut is_end = true;
    let options = DocOptions {
        revs: true,
        ..DocOptions::default()
    };
    while let Some(row) = rows.next()? {
        let id: String = row.get(0)?;
        let Some(row) = documents::find(conn, db.id, &id)? else {
            continue;
        };
        let leaves = row.tree.leaves();
        let shown = if feed_options.all_leaves {
            leaves.len()
        } else {
            1
        };
        let (mut revs, mut docs) = (Vec::new(), Vec::new());
        for leaf in leaves.into_iter().take(shown) {
            if let Some(doc) = render_revision(conn, &row, &leaf.rev, &options)? {
                bytes += doc.len();
                revs.push(leaf.rev.clone());
                docs.push(doc);
            }
        }
        found.push(Candidate {
            seq: row.seq,
            id,
            revs,
            docs,
        });
        if bytes > CHUNK_BYTES {
            is_end = false;
            break;
        }
    }
    is_end &= i64::try_from(found.len()).unwrap_or(JUDGED_AT_ONCE) < JUDGED_AT_ONCE;
    Ok((found, is_end))
}

/// The chunk of the changes that a function accepted: `verdicts` has one entry for each document of the candidates.
pub(crate) fn judged_chunk(
    conn: &Connection,
    db: &Database,
    feed_options: &FeedOptions,
    from: FeedPosition,
    candidates: Vec<Candidate>,
    verdicts: &[bool],
) -> Result<FeedChunk, ApiError> {
    let mut position = from;
    let mut text = String::new();
    let mut verdicts = verdicts.iter();
    for candidate in candidates {
        let accepted: Vec<Rev> = candidate
            .revs
            .into_iter()
            .filter(|_| verdicts.next() == Some(&true))
            .collect();
        if position.left <= 0 {
            break;
        }
        position.seq = candidate.seq;
        if accepted.is_empty() {
            continue;
        }
        // A document that has changed since comes again later.
        let row = documents::find(conn, db.id, &candidate.id)?;
        if let Some(row) = row.filter(|row| row.seq == candidate.seq)
            && let Some(line) = change_row(conn, db, feed_options, position, &row, Some(&accepted))?
        {
            (feed_options.row)(&line, &mut text, position.told == 0);
            position.told += 1;
            position.left -= 1;
        }
    }
    Ok(FeedChunk {
        text,
        position,
        end: position.left <= 0,
        pending: 0,
    })
}

/// What a feed reports of each change.
pub(crate) struct FeedOptions {
    pub(crate) filter: Filter,
    pub(crate) all_leaves: bool,
    pub(crate) include_docs: bool,
    pub(crate) conflicts: bool,
    pub(crate) attachments: bool,
    pub(crate) descending: bool,
    /// Of so many rows, one has a sequence: that with which the rows that are left are a multiple.
    pub(crate) seq_interval: Option<i64>,
    /// Whether the end of the feed tells how many changes are left.
    pub(crate) tells_pending: bool,
    /// Appends a row with its separators to the output.
    pub(crate) row: fn(&str, &mut String, first: bool),
}

/// CouchDB's limit of a feed without one.
pub(crate) const NO_LIMIT: i64 = 1_000_000_000_000_000;

impl FeedOptions {
    /// The direction of the feed in SQL, and what a later sequence is.
    fn order(&self) -> (&'static str, &'static str) {
        if self.descending {
            ("DESC", "<")
        } else {
            ("ASC", ">")
        }
    }
}

/// The position of a feed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FeedPosition {
    /// All changes up to this sequence have been sent or filtered out.
    pub(crate) seq: i64,
    pub(crate) left: i64,
    pub(crate) told: u64,
}

/// A chunk of a feed.
pub(crate) struct FeedChunk {
    pub(crate) text: String,
    pub(crate) position: FeedPosition,
    /// Whether there are no more changes for now, or the limit is reached.
    pub(crate) end: bool,
    pub(crate) pending: i64,
}

/// Reads the next chunk.
pub(crate) fn read_chunk(
    conn: &Connection,
    db: &Database,
    feed_options: &FeedOptions,
    from: FeedPosition,
) -> Result<FeedChunk, ApiError> {
    let (order, beyond) = feed_options.order();
    let sql = format!(
        "SELECT id FROM docs WHERE db = ?1 AND seq {beyond} ?2 ORDER BY seq {order} LIMIT ?3"
    );
    let mut statement = conn.prepare_cached(&sql)?;
    let mut rows = statement.query(params![
        db.id,
        from.seq,
        i64::try_from(CHUNK_ROWS).unwrap_or(i64::MAX)
    ])?;
    let mut position = from;
    let mut text = String::new();
    let mut seen = 0;
    while position.left > 0 {
        let Some(row) = rows.next()? else { break };
        let id: String = row.get(0)?;
        let Some(found) = documents::find(conn, db.id, &id)? else {
            continue;
        };
        seen += 1;
        position.seq = found.seq;
        if let Some(line) = change_row(conn, db, feed_options, position, &found, None)? {
            (feed_options.row)(&line, &mut text, position.told == 0);
            position.told += 1;
            position.left -= 1;
        }
        if text.len() > CHUNK_BYTES {
            break;
        }
    }
    let full = seen == CHUNK_ROWS || text.len() > CHUNK_BYTES;
    let end = position.left <= 0 || !full;
    let pending = if end {
        pending(conn, db, feed_options, from, &mut position)?
    } else {
        0
    };
    Ok(FeedChunk {
        text,
        position,
        end,
        pending,
    })
}

/// The number of pending changes, counted as CouchDB does: changes that a selector would filter out count,
/// and so do changes that a list of ids has filtered out.
fn pending(
    conn: &Connection,
    db: &Database,
    feed_options: &FeedOptions,
    from: FeedPosition,
    position: &mut FeedPosition,
) -> Result<i64, ApiError> {
    let passed_over = match feed_options.filter {
        Filter::Ids(_) | Filter::Designs => {
            behind(conn, db, feed_options, from.seq)?
                - i64::try_from(position.told - from.told).unwrap_or(0)
        }
        Filter::All | Filter::Selector { .. } | Filter::Function(_) => {
            behind(conn, db, feed_options, position.seq)?
        }
    };
    if position.left > 0 && !feed_options.descending {
        // Changes that were filtered out at the end need not be read again.
        position.seq = position.seq.max(db.seq);
    }
    Ok(passed_over)
}

/// The number of documents that a feed has yet to come to after a sequence. Documents are counted on the side of it that
/// has fewer sequences; those of the other side are the rest.
fn behind(
    conn: &Connection,
    db: &Database,
    feed_options: &FeedOptions,
    seq: i64,
) -> Result<i64, ApiError> {
    let count = |side: &str| -> rusqlite::Result<i64> {
        conn.prepare_cached(&format!(
            "SELECT count(*) FROM docs WHERE db = ?1 AND seq {side} ?2"
        ))?
        .query_row(params![db.id, seq], |row| row.get(0))
    };
    let all = db.docs + db.deleted;
    let is_near_the_end = db.seq.saturating_sub(seq) < seq;
    Ok(match (feed_options.descending, is_near_the_end) {
        (false, true) => count(">")?,
        (false, false) => all - count("<=")?,
        (true, true) => all - count(">=")?,
        (true, false) => count("<")?,
    })
}

fn change_row(
    conn: &Connection,
    db: &Database,
    feed_options: &FeedOptions,
    position: FeedPosition,
    row: &DocRow,
    accepted: Option<&[Rev]>,
) -> Result<Option<String>, ApiError> {
    let mut selected = None;
    match &feed_options.filter {
        Filter::All | Filter::Function(_) => {}
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
    let interval = feed_options.seq_interval;
    if interval.is_none_or(|interval| position.left % interval == 0) {
        write_string(&db.seq_text(row.seq), &mut out);
    } else {
        out.push_str("null");
    }
    out.push_str(",\"id\":");
    write_string(&row.id, &mut out);
    out.push_str(",\"changes\":[");
    let leaves = row.tree.leaves();
    let shown = if feed_options.all_leaves {
        leaves.len()
    } else {
        1
    };
    let shown = leaves
        .iter()
        .take(shown)
        .filter(|leaf| accepted.is_none_or(|accepted| accepted.contains(&leaf.rev)));
    for (n, leaf) in shown.enumerate() {
        out.push_str(if n > 0 { ",{\"rev\":" } else { "{\"rev\":" });
        write_string(&leaf.rev.to_string(), &mut out);
        out.push('}');
    }
    out.push(']');
    if row.deleted {
        out.push_str(",\"deleted\":true");
    }
    if feed_options.include_docs {
        out.push_str(",\"doc\":");
        match selected {
            Some(text) => out.push_str(&text),
            None => out.push_str(&document(conn, row, feed_options)?),
        }
    }
    out.push('}');
    Ok(Some(out))
}

fn document(
    conn: &Connection,
    row: &DocRow,
    feed_options: &FeedOptions,
) -> Result<String, ApiError> {
    let options = DocOptions {
        conflicts: feed_options.conflicts,
        attachments: feed_options.attachments,
        ..DocOptions::default()
    };
    let Some(winner) = row.tree.winner() else {
        return Ok(Json::Null.to_string());
    };
    Ok(
        render_revision(conn, row, &winner.rev, &options)?
            .unwrap_or_else(|| Json::Null.to_string()),
    )
}
