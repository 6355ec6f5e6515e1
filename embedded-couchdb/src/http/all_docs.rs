//! `_all_docs`, `_design_docs` and `_local_docs`: documents in the byte order of their ids.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use tokio::sync::mpsc;

pub(crate) use super::listing::DocumentSet;
use super::{
    app::App,
    body::Body,
    listing::Listing,
    listing_rows::{ListingState, begin, rows},
    request::ApiRequest,
    response::ApiResponse,
};
use crate::{
    api_error::ApiError,
    storage::databases::{self, Database},
};

/// `/{db}/_all_docs`, `/{db}/_design_docs` and `/{db}/_local_docs`
pub(crate) async fn all_docs(
    app: &Arc<App>,
    request: &ApiRequest,
    name: String,
    set: DocumentSet,
) -> Result<ApiResponse, ApiError> {
    let body = match request.method.as_str() {
        "GET" | "HEAD" => None,
        "POST" => {
            request.demand_json()?;
            Some(request.json_object()?)
        }
        _ => return Err(ApiError::method_not_allowed("GET,HEAD,POST")),
    };
    let listing = Listing::new(set, &request.query, body.as_ref())?;
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
        return Ok(ApiResponse::text(StatusCode::OK, out));
    }
    let (chunks, body) = mpsc::channel(2);
    app.tasks.spawn(stream_rest(
        Arc::clone(app),
        db,
        listing,
        state,
        out,
        chunks,
    ));
    Ok(ApiResponse {
        status: StatusCode::OK,
        headers: Vec::new(),
        body: Body::Stream(body),
    })
}

async fn stream_rest(
    app: Arc<App>,
    db: Database,
    listing: Listing,
    mut state: ListingState,
    first: String,
    chunks: mpsc::Sender<Result<Bytes, std::io::Error>>,
) {
    let mut out = first;
    loop {
        if chunks
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
                // The error closes the connection, so that the client notices the incomplete response.
                let _ = chunks.send(Err(std::io::Error::other(failure))).await;
                return;
            }
        }
    }
}

/// `…/queries`: several listings in one response.
pub(crate) async fn queries(
    app: &App,
    request: &ApiRequest,
    name: String,
    set: DocumentSet,
) -> Result<ApiResponse, ApiError> {
    if request.method != http::Method::POST {
        return Err(ApiError::method_not_allowed("POST"));
    }
    let body = request.json_object()?;
    let asked = body
        .get("queries")
        .ok_or_else(|| ApiError::bad_request("POST body must include `queries` parameter."))?;
    let asked = asked
        .as_arr()
        .ok_or_else(|| ApiError::bad_request("`queries` member must be an array."))?;
    if asked.iter().any(|query| query.as_obj().is_none()) {
        return Err(ApiError::bad_request("a query must be a JSON object"));
    }
    let listings = asked
        .iter()
        .map(|query| Listing::one_of_several(set, &request.query, query))
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
    Ok(ApiResponse::text(StatusCode::OK, text))
}
