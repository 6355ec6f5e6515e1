//! `_all_docs` and its kin: documents by id, in the order of their bytes.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use rusqlite::{Connection, params};
use tokio::sync::mpsc;

pub(crate) use super::listing::Part;
use super::{App, answer::Answer, body::Body, call::Call, listing::Listing, revisions::Show};
use crate::{
    failure::Failure,
    json::{Json, obj, write_string},
    storage::{
        databases::{self, Database},
        documents,
    },
};

/// So much of an answer comes from one state of the store; more is fetched in further pieces, so that
/// a slow client holds neither memory nor a reader.
const PIECE: usize = 2 * 1024 * 1024;

/// `/{db}/_all_docs`, `/{db}/_design_docs` and `/{db}/_local_docs`
pub(crate) async fn all_docs(
    app: &Arc<App>,
    call: &Call,
    name: String,
    part: Part,
) -> Result<Answer, Failure> {
    let body = match call.method.as_str() {
        "GET" | "HEAD" => None,
        "POST" => {
            call.demand_json()?;
            Some(call.json_object()?)
        }
        _ => return Err(Failure::method_not_allowed("GET,HEAD,POST")),
    };
    let listing = Listing::new(part, &call.query, body.as_ref())?;
    let first = {
        let listing = listing.clone();
        let name = name.clone();
        app.store.read(move |conn| {
            let db = databases::open(conn, &name)?;
            let mut out = String::new();
            let mut state = begin(conn, &db, &listing, &mut out)?;
            rows(conn, &db, &listing, &mut state, &mut out)?;
            Ok((db, state, out))
        })
    };
    let (db, state, mut out) = first.await?;
    if state.done {
        out.push('\n');
        return Ok(Answer::text(StatusCode::OK, out));
    }
    let (pieces, body) = mpsc::channel(2);
    app.tasks
        .spawn(go_on(Arc::clone(app), db, listing, state, out, pieces));
    Ok(Answer {
        status: StatusCode::OK,
        headers: Vec::new(),
        body: Body::Pieces(body),
    })
}

async fn go_on(
    app: Arc<App>,
    db: Database,
    listing: Listing,
    mut state: State,
    first: String,
    pieces: mpsc::Sender<Result<Bytes, std::io::Error>>,
) {
    let mut out = first;
    loop {
        if pieces
            .send(Ok(Bytes::from(std::mem::take(&mut out))))
            .await
            .is_err()
            || state.done
        {
            return;
        }
        let (db, listing) = (db.clone(), listing.clone());
        let read = app.store.read(move |conn| {
            let mut state = state;
            let mut out = String::new();
            rows(conn, &db, &listing, &mut state, &mut out)?;
            if state.done {
                out.push('\n');
            }
            Ok((state, out))
        });
        match read.await {
            Ok((next, text)) => (state, out) = (next, text),
            Err(failure) => {
                // The connection breaks, so that the client sees that something is missing.
                let _ = pieces.send(Err(std::io::Error::other(failure))).await;
                return;
            }
        }
    }
}

/// `…/queries`: several listings in one answer.
pub(crate) async fn queries(
    app: &App,
    call: &Call,
    name: String,
    part: Part,
) -> Result<Answer, Failure> {
    if call.method != http::Method::POST {
        return Err(Failure::method_not_allowed("POST"));
    }
    call.demand_json()?;
    let body = call.json_object()?;
    let asked = body.get("queries").and_then(Json::as_arr);
    let asked =
        asked.ok_or_else(|| Failure::bad_request("POST body must include `queries` parameter."))?;
    let listings = asked
        .iter()
        .map(|query| Listing::new(part, &call.query, Some(query)))
        .collect::<Result<Vec<_>, _>>()?;
    let text = app
        .store
        .read(move |conn| {
            let db = databases::open(conn, &name)?;
            let mut out = String::from("{\"results\":[");
            for (n, listing) in listings.iter().enumerate() {
                out.push_str(if n > 0 { ",\r\n" } else { "\r\n" });
                let mut state = begin(conn, &db, listing, &mut out)?;
                while !state.done {
                    rows(conn, &db, listing, &mut state, &mut out)?;
                }
            }
            out.push_str("\r\n]}\n");
            Ok(out)
        })
        .await?;
    Ok(Answer::text(StatusCode::OK, text))
}

/// How far a listing has come.
struct State {
    done: bool,
    written: bool,
    left: i64,
    skip: i64,
    /// The last id listed.
    last: Option<String>,
    /// The next of the keys.
    key: usize,
}

fn count(
    conn: &Connection,
    listing: &Listing,
    sql: &str,
    db: i64,
    id: &str,
) -> Result<i64, Failure> {
    let alive = if listing.part == Part::Locals {
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

fn begin(
    conn: &Connection,
    db: &Database,
    listing: &Listing,
    out: &mut String,
) -> Result<State, Failure> {
    let total = match listing.part {
        Part::Documents => Json::Int(db.docs),
        Part::Designs => {
            let designs = count(conn, listing, ">=", db.id, "_design/")?
                - count(conn, listing, ">=", db.id, "_design0")?;
            Json::Int(designs)
        }
        Part::Locals => Json::Null,
    };
    let offset = if listing.keys.is_some() || listing.part == Part::Locals {
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
        write_string(&db.seq_text(db.seq), out);
    }
    out.push_str(",\"rows\":[");
    Ok(State {
        done: false,
        written: false,
        left: listing.limit,
        skip: listing.skip,
        last: None,
        key: 0,
    })
}

fn separate(state: &mut State, out: &mut String) {
    out.push_str(if state.written { ",\r\n" } else { "\r\n" });
    state.written = true;
}

fn finish(state: &mut State, out: &mut String) {
    state.done = true;
    out.push_str("\r\n]}");
}

fn rows(
    conn: &Connection,
    db: &Database,
    listing: &Listing,
    state: &mut State,
    out: &mut String,
) -> Result<(), Failure> {
    match &listing.keys {
        Some(keys) => by_keys(conn, db, listing, keys, state, out),
        None => by_range(conn, db, listing, state, out),
    }
}

fn by_range(
    conn: &Connection,
    db: &Database,
    listing: &Listing,
    state: &mut State,
    out: &mut String,
) -> Result<(), Failure> {
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
    let (columns, alive) = match listing.part {
        Part::Locals => ("id, rev, body", ""),
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
        if listing.part == Part::Locals {
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
                out.push_str(&whole(conn, db, &id, &rev, row.get(2)?, &listing.show)?);
            }
        }
        out.push('}');
        state.left -= 1;
        if out.len() - begun > PIECE {
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
    show: &Show,
) -> Result<String, Failure> {
    if show.conflicts || show.attachments {
        let row = documents::find(conn, db.id, id)?.ok_or_else(Failure::missing)?;
        let rev = crate::storage::revtree::Rev::parse(rev)?;
        return Ok(
            super::revisions::show(conn, &row, &rev, show)?.unwrap_or_else(|| "null".to_owned())
        );
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
    state: &mut State,
    out: &mut String,
) -> Result<(), Failure> {
    let begun = out.len();
    // Keys are answered in the order given, or backwards.
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
        separate(state, out);
        key_row(conn, db, listing, key, out)?;
        if out.len() - begun > PIECE {
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
) -> Result<(), Failure> {
    let missing =
        |out: &mut String| obj([("key", key.clone()), ("error", "not_found".into())]).write(out);
    let Some(id) = key.as_str() else {
        missing(out);
        return Ok(());
    };
    if listing.part == Part::Locals {
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
    if listing.part == Part::Designs && !id.starts_with("_design/") {
        missing(out);
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
                    out.push_str(&whole(conn, db, id, &row.rev, row.body, &listing.show)?);
                }
            }
            out.push('}');
        }
        None => missing(out),
    }
    Ok(())
}
