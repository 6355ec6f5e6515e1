//! `/{db}/_design/{ddoc}/_info`

use http::Method;

use super::{
    app::App,
    designs::{self, Design},
    node::COLLATOR,
    request::ApiRequest,
    response::ApiResponse,
};
use crate::{
    api_error::ApiError,
    json::{Json, obj},
    storage::{
        databases::{self, Database},
        indexes, view_scan, views,
    },
};

/// The size of the file of an index without rows, by CouchDB's measure.
const EMPTY_FILE: i64 = 51;

/// What there is to tell of the rows of a design document.
struct Rows {
    /// The rows of all documents up to this sequence are there.
    seq: i64,
    bytes: i64,
    signature: String,
    is_running: bool,
}

/// `/{db}/_design/{ddoc}/_info`
pub(crate) async fn design_info(
    app: &App,
    request: &ApiRequest,
    name: String,
    ddoc: String,
) -> Result<ApiResponse, ApiError> {
    if !matches!(request.method, Method::GET | Method::HEAD) {
        return Err(ApiError::method_not_allowed("GET"));
    }
    let (db, design) = designs::open(app, name, ddoc).await?;
    let rows = if design.language() == "query" {
        of_indexes(app, &db, &design).await?
    } else {
        of_views(app, &db, &design).await?
    };
    let pending = (db.seq - rows.seq).max(0);
    let updates = obj([
        ("minimum", pending.into()),
        ("preferred", pending.into()),
        ("total", pending.into()),
    ]);
    let sizes = obj([
        ("file", (EMPTY_FILE + rows.bytes).into()),
        ("external", rows.bytes.into()),
        ("active", rows.bytes.into()),
    ]);
    let short = design.id.strip_prefix("_design/").unwrap_or(&design.id);
    let index = obj([
        ("updates_pending", updates),
        ("waiting_commit", false.into()),
        ("waiting_clients", 0_i64.into()),
        ("updater_running", rows.is_running.into()),
        ("update_seq", rows.seq.into()),
        ("sizes", sizes),
        ("signature", rows.signature.into()),
        ("purge_seq", db.purge_seq.into()),
        ("language", design.language().into()),
        ("compact_running", false.into()),
        ("collator_versions", Json::Arr(vec![COLLATOR.into()])),
    ]);
    Ok(ApiResponse::ok(&obj([
        ("name", short.into()),
        ("view_index", index),
    ])))
}

async fn of_views(app: &App, db: &Database, design: &Design) -> Result<Rows, ApiError> {
    let signature = design.signature();
    let (id, wanted) = (db.id, signature.clone());
    let (seq, bytes) = app
        .store
        .read(move |conn| match views::find(conn, id, &wanted)? {
            Some(rows) => Ok((rows.seq, view_scan::bytes(conn, rows.id)?)),
            None => Ok((0, 0)),
        })
        .await?;
    let is_running = app.updating.is_running(db.id, &signature);
    Ok(Rows {
        seq,
        bytes,
        signature,
        is_running,
    })
}

/// Indexes for `_find` follow each write, once they are built.
async fn of_indexes(app: &App, db: &Database, design: &Design) -> Result<Rows, ApiError> {
    let (id, name, seq, ddoc) = (db.id, db.name.clone(), db.seq, design.id.clone());
    let (is_ready, bytes) = app
        .store
        .read(move |conn| {
            databases::open(conn, &name)?;
            let mut is_ready = true;
            let mut bytes = 0;
            for index in indexes::of(conn, id)?.iter().filter(|it| it.ddoc == ddoc) {
                is_ready &= index.ready;
                bytes += indexes::bytes(conn, index.id)?;
            }
            Ok((is_ready, bytes))
        })
        .await?;
    Ok(Rows {
        seq: if is_ready { seq } else { 0 },
        bytes,
        signature: design.signature(),
        is_running: !is_ready,
    })
}
