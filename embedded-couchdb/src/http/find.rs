//! `_find` and `_explain`.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use tokio::sync::mpsc;

use super::{
    app::App,
    body::Body,
    bulk::only_post,
    request::ApiRequest,
    response::ApiResponse,
    users::{self, USERS},
};
use crate::{
    api_error::ApiError,
    mango::{
        explain::explain as explained,
        planner::{self, Candidate},
        query::Cursor,
        request::Find,
    },
    storage::{
        databases::{self, Database},
        indexes, partitions,
    },
};

fn parse(request: &ApiRequest, partition: Option<&str>) -> Result<Find, ApiError> {
    let mut find = Find::parse(&request.json_object()?)?;
    if let Some(partition) = partition {
        partitions::check_name(partition)?;
        find.only_in(partition)?;
    }
    Ok(find)
}

fn check_partition(db: &Database, find: &Find) -> Result<(), ApiError> {
    if !db.partitioned && !find.partition.is_empty() {
        return Err(ApiError::bad_request(
            "partition specified on non-partitioned db",
        ));
    }
    Ok(())
}

/// `/{db}/_find`
pub(crate) async fn find(
    app: &Arc<App>,
    request: &ApiRequest,
    name: String,
    partition: Option<&str>,
) -> Result<ApiResponse, ApiError> {
    only_post(request)?;
    request.demand_json()?;
    let mut find = parse(request, partition)?;
    if name == USERS && !request.caller.is_admin() {
        find.only_id(&users::id_of(&request.caller));
    }
    loop {
        let (name, find) = (name.clone(), find.clone());
        // Subscribes before the check, so that the completion of an index is not missed.
        let mut bell = app.store.notifier.watch_chores();
        bell.borrow_and_update();
        let first = app.store.read(move |conn| {
            let db = databases::open(conn, &name)?;
            check_partition(&db, &find)?;
            let defs = indexes::scoped(conn, &db)?;
            let plan =
                planner::plan(&defs, &find)?.map_err(|_| planner::no_usable_index(&db, &find))?;
            if matches!(plan.index, Candidate::Json(index) if !index.ready) {
                return Ok(None);
            }
            let mut cursor = Cursor::new(&find, &plan)?;
            let mut out = String::from("{\"docs\":[");
            cursor.read(conn, &db, &mut out)?;
            Ok(Some((db, cursor, out)))
        });
        let Some((db, cursor, mut out)) = first.await? else {
            tokio::select! {
                _ = bell.changed() => continue,
                () = app.stop.cancelled() => return Err(ApiError::internal("the server is shutting down")),
            }
        };
        if cursor.done {
            cursor.finish(&mut out);
            return Ok(ApiResponse::text(StatusCode::OK, out));
        }
        let (chunks, body) = mpsc::channel(2);
        app.tasks
            .spawn(stream_rest(Arc::clone(app), db, cursor, out, chunks));
        return Ok(ApiResponse {
            status: StatusCode::OK,
            headers: Vec::new(),
            body: Body::Stream(body),
        });
    }
}

async fn stream_rest(
    app: Arc<App>,
    db: Database,
    mut cursor: Cursor,
    first: String,
    chunks: mpsc::Sender<Result<Bytes, std::io::Error>>,
) {
    let mut out = first;
    while !cursor.done {
        if !out.is_empty()
            && chunks
                .send(Ok(Bytes::from(std::mem::take(&mut out))))
                .await
                .is_err()
        {
            return;
        }
        let db = db.clone();
        let read = app.store.read(move |conn| {
            // The rows of an index that was dropped are incomplete.
            if let Some(index) = cursor.index
                && indexes::is_ready(conn, index)? != Some(true)
            {
                return Err(ApiError::internal("the index was dropped"));
            }
            let mut cursor = cursor;
            let mut out = String::new();
            cursor.read(conn, &db, &mut out)?;
            Ok((cursor, out))
        });
        match read.await {
            Ok((next, text)) => (cursor, out) = (next, text),
            Err(failure) => {
                // The error closes the connection, so that the client notices the incomplete response.
                let _ = chunks.send(Err(std::io::Error::other(failure))).await;
                return;
            }
        }
    }
    cursor.finish(&mut out);
    // If the client has disconnected, the rest is not needed.
    let _ = chunks.send(Ok(Bytes::from(out))).await;
}

/// `/{db}/_explain`
pub(crate) async fn explain(
    app: &App,
    request: &ApiRequest,
    name: String,
    partition: Option<&str>,
) -> Result<ApiResponse, ApiError> {
    only_post(request)?;
    request.demand_json()?;
    let find = parse(request, partition)?;
    let explanation = app
        .store
        .read(move |conn| {
            let db = databases::open(conn, &name)?;
            check_partition(&db, &find)?;
            let defs = indexes::scoped(conn, &db)?;
            let plan = planner::plan(&defs, &find)?;
            Ok(explained(&db, &find, &plan))
        })
        .await?;
    Ok(ApiResponse::ok(&explanation))
}
