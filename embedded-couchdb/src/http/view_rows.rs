//! The rows of a view: which are asked for, and how they are sent.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use rusqlite::Connection;
use tokio::sync::mpsc;

use super::{
    app::App,
    body::Body,
    response::ApiResponse,
    view_division,
    view_query::{Bound, ViewQuery},
    views::Prepared,
};
use crate::{
    api_error::ApiError,
    json::{Json, write_string},
    mango::collation,
    rendering::{DocOptions, render_revision},
    storage::{
        documents, partitions,
        revtree::Rev,
        view_counts::{self, Count},
        view_scan::{self, Found, Range, Scan},
        views,
    },
};

/// The ranges of rows that are asked for, in the order of the answer.
pub(super) fn ranges(query: &ViewQuery, is_reduced: bool) -> Vec<Range> {
    let ranges = ranges_of_keys(query, is_reduced);
    match &query.partition {
        None => ranges,
        Some(partition) => {
            let key = |key: Option<Vec<u8>>, open: &[u8]| {
                let mut within = partitions::key_prefix(partition);
                within.extend_from_slice(key.as_deref().unwrap_or(open));
                Some(within)
            };
            ranges
                .into_iter()
                .map(|range| Range {
                    low: key(range.low, &[]),
                    high: key(range.high, &[collation::AFTER_ALL]),
                    ..range
                })
                .collect()
        }
    }
}

fn ranges_of_keys(query: &ViewQuery, is_reduced: bool) -> Vec<Range> {
    if let Some(keys) = &query.keys {
        let mut keys: Vec<&Json> = keys.iter().collect();
        // CouchDB keeps the order of the keys where it groups by them.
        if query.descending && !is_reduced {
            keys.reverse();
        }
        return keys
            .into_iter()
            .map(|key| {
                let mut encoded = Vec::new();
                collation::encode(key, &mut encoded);
                let (low_id, high_id) = if query.descending {
                    (&query.end.id, &query.start.id)
                } else {
                    (&query.start.id, &query.end.id)
                };
                Range {
                    low: Some(encoded.clone()),
                    low_id: low_id.clone(),
                    excludes_low: !query.inclusive_end && query.descending,
                    high: Some(encoded),
                    high_id: high_id.clone(),
                    excludes_high: !query.inclusive_end && !query.descending,
                }
            })
            .collect();
    }
    let id = |bound: &Bound| bound.id.clone().filter(|_| bound.key.is_some());
    let excludes_end = !query.inclusive_end && query.end.key.is_some();
    vec![if query.descending {
        Range {
            low: query.end.encoded(),
            low_id: id(&query.end),
            excludes_low: excludes_end,
            high: query.start.encoded(),
            high_id: id(&query.start),
            excludes_high: false,
        }
    } else {
        Range {
            low: query.start.encoded(),
            low_id: id(&query.start),
            excludes_low: false,
            high: query.end.encoded(),
            high_id: id(&query.end),
            excludes_high: excludes_end,
        }
    }]
}

/// The number of rows before the first of the query. With keys, the first one counts that has rows, or the last one.
fn offset(conn: &Connection, prepared: &Prepared, total: i64) -> Result<Count, ApiError> {
    let (query, view) = (&prepared.query, (prepared.rows.id, prepared.n));
    let mut first = None;
    for range in ranges(query, false) {
        let has_rows = query.keys.is_none() || view_scan::count_up_to(conn, view, &range, 1)? > 0;
        first = Some(range);
        if has_rows {
            break;
        }
    }
    let before = match first {
        None => return Ok(Count::default()),
        // Those after it come before it, where the last row is the first.
        Some(Range {
            high: Some(high),
            high_id,
            ..
        }) if query.descending => {
            let up_to_it = Range {
                high: Some(high),
                high_id,
                ..Range::default()
            };
            let counted = view_counts::up_to(conn, view, &up_to_it)?;
            Count {
                rows: total.saturating_sub(counted.rows),
                ..counted
            }
        }
        Some(Range {
            low: Some(low),
            low_id,
            ..
        }) if !query.descending => {
            let before_it = Range {
                high: Some(low),
                high_id: low_id,
                excludes_high: true,
                ..Range::default()
            };
            view_counts::up_to(conn, view, &before_it)?
        }
        Some(_) => Count::default(),
    };
    Ok(Count {
        rows: before.rows.saturating_add(query.skip).min(total),
        ..before
    })
}

/// Rows that are being listed.
pub(super) struct Listing {
    prepared: Arc<Prepared>,
    scan: Scan,
    skip: i64,
    left: i64,
    is_first: bool,
    is_over: bool,
}

impl Listing {
    /// The listing and the beginning of its text.
    pub(super) async fn begin(app: &App, prepared: Prepared) -> Result<(Self, String), ApiError> {
        let prepared = Arc::new(prepared);
        let counted = Arc::clone(&prepared);
        let (total, offset) = app
            .store
            .read(move |conn| {
                let total = views::total(conn, counted.rows.id, counted.n)?;
                Ok((total, offset(conn, &counted, total)?))
            })
            .await?;
        if offset.is_costly() {
            let view = (prepared.rows.id, prepared.n);
            view_division::divide(app, &prepared.db, view).await;
        }
        let mut text = format!("{{\"total_rows\":{total},\"offset\":{}", offset.rows);
        if prepared.query.update_seq {
            text.push_str(",\"update_seq\":");
            write_string(&prepared.db.seq_text(prepared.rows.seq), &mut text);
        }
        text.push_str(",\"rows\":[");
        let listing = Self {
            scan: prepared.scan(),
            skip: prepared.query.skip,
            left: prepared.query.limit,
            is_first: true,
            is_over: false,
            prepared,
        };
        Ok((listing, text))
    }

    /// The next part of the text; `None` after the last.
    pub(super) async fn next(&mut self, app: &App) -> Result<Option<String>, ApiError> {
        if self.is_over {
            return Ok(None);
        }
        if self.left == 0 || self.scan.is_over() {
            self.is_over = true;
            let end = if self.is_first {
                "\r\n\r\n]}"
            } else {
                "\r\n]}"
            };
            return Ok(Some(end.to_owned()));
        }
        let (mut scan, prepared) = (self.scan.clone(), Arc::clone(&self.prepared));
        let (mut skip, mut left, mut is_first) = (self.skip, self.left, self.is_first);
        let (text, scan, skip, left, is_first) = app
            .store
            .read(move |conn| {
                let mut text = String::new();
                for row in scan.next(conn, skip.saturating_add(left))? {
                    if skip > 0 {
                        skip -= 1;
                        continue;
                    }
                    left -= 1;
                    text.push_str(if is_first { "\r\n" } else { ",\r\n" });
                    is_first = false;
                    write_row(conn, &prepared, &row, &mut text)?;
                }
                Ok((text, scan, skip, left, is_first))
            })
            .await?;
        self.scan = scan;
        (self.skip, self.left, self.is_first) = (skip, left, is_first);
        Ok(Some(text))
    }
}

fn write_row(
    conn: &Connection,
    prepared: &Prepared,
    row: &Found,
    out: &mut String,
) -> Result<(), ApiError> {
    out.push_str("{\"id\":");
    write_string(&row.id, out);
    out.push_str(",\"key\":");
    out.push_str(&row.emitted);
    out.push_str(",\"value\":");
    out.push_str(&row.value);
    if prepared.query.include_docs {
        out.push_str(",\"doc\":");
        match included(conn, prepared, row)? {
            Some(doc) => out.push_str(&doc),
            None => out.push_str("null"),
        }
    }
    out.push('}');
    Ok(())
}

/// The document of a row, or the one that its value names.
fn included(
    conn: &Connection,
    prepared: &Prepared,
    row: &Found,
) -> Result<Option<String>, ApiError> {
    let value = Json::parse(row.value.as_bytes()).unwrap_or(Json::Null);
    let named = |key: &str| value.get(key).and_then(Json::as_str);
    let id = named("_id").unwrap_or(&row.id);
    let Some(found) = documents::find(conn, prepared.db.id, id)? else {
        return Ok(None);
    };
    let rev = match named("_rev") {
        Some(rev) => Rev::parse(rev)?,
        None if found.deleted => return Ok(None),
        None => match found.tree.winner() {
            Some(winner) => winner.rev.clone(),
            None => return Ok(None),
        },
    };
    let options = DocOptions {
        conflicts: prepared.query.conflicts == Some(true),
        // A document that a value names comes with plain stubs.
        attachments: prepared.query.attachments && named("_id").is_none(),
        att_encoding_info: prepared.query.att_encoding_info && named("_id").is_none(),
        ..DocOptions::default()
    };
    render_revision(conn, &found, &rev, &options)
}

/// Answers part by part, so that the memory does not grow with the rows.
pub(super) async fn stream(app: &Arc<App>, prepared: Prepared) -> Result<ApiResponse, ApiError> {
    let (mut listing, first) = Listing::begin(app, prepared).await?;
    let mut text = first;
    // A short answer is sent in one piece.
    while let Some(next) = listing.next(app).await? {
        text.push_str(&next);
        if text.len() > 1 << 20 {
            break;
        }
    }
    if listing.is_over {
        return Ok(ApiResponse::text(StatusCode::OK, text + "\n"));
    }
    let (chunks, body) = mpsc::channel(2);
    let app_of_task = Arc::clone(app);
    app.tasks.spawn(async move {
        let mut text = text;
        loop {
            if chunks.send(Ok(Bytes::from(text))).await.is_err() {
                return;
            }
            match listing.next(&app_of_task).await {
                Ok(Some(next)) => text = next,
                Ok(None) => break,
                Err(failure) => {
                    // The error closes the connection, so that the client notices the incomplete answer.
                    let _ = chunks.send(Err(std::io::Error::other(failure))).await;
                    return;
                }
            }
        }
        let _ = chunks.send(Ok(Bytes::from_static(b"\n"))).await;
    });
    Ok(ApiResponse {
        status: StatusCode::OK,
        headers: Vec::new(),
        body: Body::Stream(body),
    })
}
