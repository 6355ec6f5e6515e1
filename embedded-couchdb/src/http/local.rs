//! `/{db}/_local/{id}`: what differs from other documents.

use http::{Method, StatusCode, header};

use super::{app::App, document, request::ApiRequest, response::ApiResponse, revisions::rev_list};
use crate::{
    api_error::ApiError,
    erlang::local_etag,
    json::{Json, obj},
    storage::{databases, documents, locals, revtree::Rev},
};

/// `/{db}/_local/{id}`
pub(crate) async fn local(
    app: &App,
    request: &ApiRequest,
    name: String,
    id: String,
) -> Result<ApiResponse, ApiError> {
    if id == "_local/" {
        return Err(invalid_id());
    }
    match request.method {
        Method::GET | Method::HEAD => get(app, request, name, id).await,
        Method::DELETE => {
            let gone = id.clone();
            app.store
                .write_making_room(move |transaction| {
                    let db = databases::open(transaction.conn, &name)?;
                    locals::delete(transaction, &db, &gone)
                })
                .await?;
            let body = obj([
                ("ok", true.into()),
                ("id", id.into()),
                ("rev", locals::revision(0).to_string().into()),
            ]);
            Ok(ApiResponse::ok(&body).with(header::ETAG, local_etag(0, &[])))
        }
        _ => document::document(app, request, name, id).await,
    }
}

/// The error for `_local` without a name.
pub(crate) fn invalid_id() -> ApiError {
    ApiError::bad_request("Invalid _local document id.")
}

async fn get(
    app: &App,
    request: &ApiRequest,
    name: String,
    id: String,
) -> Result<ApiResponse, ApiError> {
    let with_revisions = request.query.get("revs") == Some("true");
    let named = request.query.get("rev").map(Rev::parse).transpose()?;
    // Only the latest revision can be asked for.
    let is_absent = named.is_some() && request.query.get("latest") != Some("true");
    let open_revs = match request.query.get("open_revs") {
        None => None,
        Some("all") => return Err(ApiError::missing()),
        Some(list) => {
            let list = Json::parse(list.as_bytes()).map_err(|_| ApiError::bad_json())?;
            Some(rev_list(&list)?).filter(|revs| !revs.is_empty())
        }
    };
    let wanted = id.clone();
    let found = app
        .store
        .read(move |conn| {
            let db = databases::open(conn, &name)?;
            locals::find(conn, db.id, &wanted)
        })
        .await?;
    if let Some(revs) = open_revs {
        let missing = |rev: Rev| obj([("missing", rev.to_string().into())]);
        let missing = revs.into_iter().map(missing).collect();
        return Ok(ApiResponse::ok(&Json::Arr(missing)));
    }
    let (rev, body) = found.filter(|_| !is_absent).ok_or_else(ApiError::missing)?;
    let members = documents::members(&body)?;
    let etag = local_etag(rev, &members);
    if request.has_seen(&etag) {
        return Ok(ApiResponse::not_modified(etag));
    }
    let mut extra = Vec::new();
    if with_revisions {
        let ids = Json::Arr(vec![rev.to_string().into()]);
        extra.push(("_revisions", obj([("start", 0_i64.into()), ("ids", ids)])));
    }
    let rev = locals::revision(rev).to_string();
    let mut text = documents::render(&id, &rev, false, &body, &extra);
    text.push('\n');
    Ok(ApiResponse::text(StatusCode::OK, text).with(header::ETAG, etag))
}
