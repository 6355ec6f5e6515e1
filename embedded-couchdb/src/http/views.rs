//! `/{db}/_design/{ddoc}/_view/{view}`

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, StatusCode};
use rusqlite::Connection;
use tokio::sync::mpsc;

use super::{
    app::App,
    body::Body,
    designs::{self, Design, View},
    reduced,
    request::ApiRequest,
    response::ApiResponse,
    view_query::{Bound, Freshness, Grouping, ViewQuery},
    view_update,
};
use crate::{
    api_error::ApiError,
    json::{Json, write_string},
    mango::collation,
    rendering::{DocOptions, render_revision},
    storage::{
        databases::{self, Database},
        documents, partitions,
        revtree::Rev,
        view_scan::{self, Found, Range, Scan},
        views::{self, Views},
    },
};

/// A query that is ready to be answered.
pub(crate) struct Prepared {
    pub(crate) db: Database,
    pub(crate) rows: Views,
    pub(crate) n: i64,
    pub(crate) view: View,
    pub(crate) query: ViewQuery,
}

impl Prepared {
    /// The reducer, if the rows are reduced.
    pub(crate) fn reducer(&self) -> Option<&str> {
        self.view
            .reduce
            .as_deref()
            .filter(|_| self.query.reduce != Some(false))
    }

    /// The rows in the order of the query.
    pub(crate) fn scan(&self) -> Scan {
        Scan::new(
            self.rows.id,
            self.n,
            ranges(&self.query, self.reducer().is_some()),
            self.query.descending,
        )
    }
}

/// `/{db}/_design/{ddoc}/_view/{view}` and `…/queries`
pub(crate) async fn view(
    app: &Arc<App>,
    request: &ApiRequest,
    name: String,
    ddoc: String,
    rest: &[&str],
) -> Result<ApiResponse, ApiError> {
    let (view, is_queries) = match rest {
        [view] => (*view, false),
        [view, "queries"] => (*view, true),
        [] => return Err(ApiError::method_not_allowed("GET,POST,HEAD")),
        _ => return Err(ApiError::missing()),
    };
    let body = match request.method {
        Method::GET | Method::HEAD if !is_queries => None,
        Method::POST => {
            request.demand_json()?;
            Some(request.json_object()?)
        }
        _ if is_queries => return Err(ApiError::method_not_allowed("POST")),
        _ => return Err(ApiError::method_not_allowed("GET,POST,HEAD")),
    };
    let (db, design) = designs::open(app, name, ddoc).await?;
    if !is_queries {
        if body
            .as_ref()
            .is_some_and(|body| body.get("queries").is_some())
        {
            return Err(ApiError::bad_request(
                "The `queries` parameter is no longer supported at this endpoint",
            ));
        }
        let keys = body.as_ref().and_then(|body| body.get("keys"));
        if keys.is_some_and(|keys| keys.as_arr().is_none()) {
            return Err(ApiError::bad_request("`keys` member must be an array."));
        }
        let query = ViewQuery::parse(&request.query, body.as_ref(), false)?;
        let prepared = prepare(app, db, &design, view, query).await?;
        return if prepared.reducer().is_some() {
            let text = reduced::answer(app, &prepared).await?;
            Ok(ApiResponse::text(StatusCode::OK, text + "\n"))
        } else {
            stream(app, prepared).await
        };
    }
    let queries = match body.as_ref().and_then(|body| body.get("queries")) {
        Some(Json::Arr(queries)) => queries.clone(),
        Some(_) => return Err(ApiError::bad_request("`queries` member must be an array.")),
        None => {
            return Err(ApiError::bad_request(
                "POST body must include `queries` parameter.",
            ));
        }
    };
    let mut out = String::from("{\"results\":[");
    for (place, query) in queries.iter().enumerate() {
        out.push_str(if place > 0 { ",\r\n" } else { "\r\n" });
        let query = ViewQuery::parse(&request.query, Some(query), true)?;
        let prepared = prepare(app, db.clone(), &design, view, query).await?;
        if prepared.reducer().is_some() {
            out.push_str(&reduced::answer(app, &prepared).await?);
        } else {
            let (mut listing, text) = Listing::begin(app, prepared).await?;
            out.push_str(&text);
            while let Some(text) = listing.next(app).await? {
                out.push_str(&text);
            }
        }
    }
    out.push_str("\r\n]}\n");
    Ok(ApiResponse::text(StatusCode::OK, out))
}

/// Checks a query and brings the rows up to date.
async fn prepare(
    app: &Arc<App>,
    db: Database,
    design: &Design,
    name: &str,
    query: ViewQuery,
) -> Result<Prepared, ApiError> {
    match (design.is_partitioned(&db), &query.partition) {
        (true, None) => {
            return Err(ApiError::query(
                "`partition` parameter is mandatory for queries to this view.",
            ));
        }
        (false, Some(_)) => {
            return Err(ApiError::query(
                "`partition` parameter is not supported in this design doc",
            ));
        }
        _ => {}
    }
    let views = design.views();
    let place = views.iter().position(|view| view.name == name);
    let can_reduce = place
        .and_then(|place| views.get(place))
        .is_some_and(|view| view.reduce.is_some());
    if place.is_some() {
        query.check(can_reduce)?;
        query.check_for_view()?;
    }
    let found = place.and_then(|place| Some((place, views.get(place)?.clone())));
    let (place, view) = found
        .ok_or_else(|| ApiError::new(StatusCode::NOT_FOUND, "not_found", "missing_named_view"))?;
    let rows = match query.freshness {
        Freshness::First => view_update::update(app, &db, design).await?,
        Freshness::Later | Freshness::Never => {
            if query.freshness == Freshness::Later {
                update_later(app, &db, &design.id);
            }
            let (id, signature) = (db.id, design.signature());
            let rows = app
                .store
                .read(move |conn| views::find(conn, id, &signature))
                .await?;
            // Nobody asked for the rows yet.
            rows.unwrap_or(Views { id: 0, seq: 0 })
        }
    };
    Ok(Prepared {
        db,
        rows,
        n: i64::try_from(place).unwrap_or(i64::MAX),
        view,
        query,
    })
}

fn update_later(app: &Arc<App>, db: &Database, ddoc: &str) {
    let (app, db, ddoc) = (Arc::clone(app), db.clone(), ddoc.to_owned());
    let tasks = app.tasks.clone();
    tasks.spawn(async move {
        let opened = designs::open(&app, db.name.clone(), ddoc.clone()).await;
        let updated = match opened {
            Ok((_, design)) => view_update::update(&app, &db, &design).await.map(|_| ()),
            Err(failure) => Err(failure),
        };
        if let Err(error) = updated {
            tracing::debug!(%error, %ddoc, "the rows of a view are not up to date");
        }
    });
}

/// The ranges of rows that are asked for, in the order of the answer.
fn ranges(query: &ViewQuery, is_reduced: bool) -> Vec<Range> {
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
fn offset(conn: &Connection, prepared: &Prepared, total: i64) -> Result<i64, ApiError> {
    let query = &prepared.query;
    let mut first = None;
    for range in ranges(query, false) {
        let has_rows = query.keys.is_none()
            || view_scan::count(conn, prepared.rows.id, prepared.n, &range)? > 0;
        first = Some(range);
        if has_rows {
            break;
        }
    }
    let Some(first) = first else {
        return Ok(0);
    };
    let before = if query.descending {
        first.high.map(|high| Range {
            low: Some(high),
            excludes_low: true,
            low_id: first.high_id,
            ..Range::default()
        })
    } else {
        first.low.map(|low| Range {
            high: Some(low),
            excludes_high: true,
            high_id: first.low_id,
            ..Range::default()
        })
    };
    let before = match before {
        Some(before) => view_scan::count(conn, prepared.rows.id, prepared.n, &before)?,
        None => 0,
    };
    Ok((before.saturating_add(query.skip)).min(total))
}

/// Rows that are being listed.
struct Listing {
    prepared: Arc<Prepared>,
    scan: Scan,
    skip: i64,
    left: i64,
    is_first: bool,
    is_over: bool,
}

impl Listing {
    /// The listing and the beginning of its text.
    async fn begin(app: &App, prepared: Prepared) -> Result<(Self, String), ApiError> {
        let prepared = Arc::new(prepared);
        let counted = Arc::clone(&prepared);
        let (total, offset) = app
            .store
            .read(move |conn| {
                let total = views::total(conn, counted.rows.id, counted.n)?;
                Ok((total, offset(conn, &counted, total)?))
            })
            .await?;
        let mut text = format!("{{\"total_rows\":{total},\"offset\":{offset}");
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
    async fn next(&mut self, app: &App) -> Result<Option<String>, ApiError> {
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
async fn stream(app: &Arc<App>, prepared: Prepared) -> Result<ApiResponse, ApiError> {
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

/// Drops the rows of views that no design document has any more.
pub(crate) async fn clean_up(app: &App, name: String) -> Result<(), ApiError> {
    app.store
        .write(move |transaction| {
            let db = databases::open(transaction.conn, &name)?;
            let ids = {
                let mut statement = transaction.conn.prepare_cached(
                    "SELECT id FROM docs WHERE db = ?1 AND id >= '_design/' AND id < '_design0' AND deleted = 0",
                )?;
                let rows = statement.query_map([db.id], |row| row.get(0))?;
                rows.collect::<Result<Vec<String>, _>>()?
            };
            let mut signatures = Vec::new();
            for id in ids {
                signatures.push(designs::read(transaction.conn, &db, &id)?.signature());
            }
            views::drop_others(transaction, db.id, &signatures)
        })
        .await
}

/// Whether two rows belong to the same group, by the parts of their keys that count.
pub(crate) fn group_of(grouping: Grouping, emitted: &Json) -> Option<Json> {
    match (grouping, emitted) {
        (Grouping::None, _) => None,
        (Grouping::Level(level), Json::Arr(items)) => {
            Some(Json::Arr(items.iter().take(level).cloned().collect()))
        }
        (Grouping::Exact | Grouping::Level(_), key) => Some(key.clone()),
    }
}
