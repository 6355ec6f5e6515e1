//! `/{db}/{id}/{name}`

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{Method, StatusCode, header};
use rusqlite::Connection;

use super::{app::App, body::Body, incoming, request::ApiRequest, response::ApiResponse};
use crate::{
    api_error::ApiError,
    json::{Json, obj},
    storage::{
        databases,
        documents::{self, DocRow, NewAttachment, NewDoc, Origin},
        revtree::Rev,
    },
};

/// `/{db}/{id}/{name}`
pub(crate) async fn attachment(
    app: &App,
    request: &ApiRequest,
    name: String,
    id: String,
    file: String,
) -> Result<ApiResponse, ApiError> {
    match request.method {
        Method::GET | Method::HEAD => get(app, request, name, id, file).await,
        Method::PUT | Method::DELETE => change(app, request, name, id, file).await,
        _ => Err(ApiError::method_not_allowed("DELETE,GET,HEAD,PUT")),
    }
}

async fn get(
    app: &App,
    request: &ApiRequest,
    name: String,
    id: String,
    file: String,
) -> Result<ApiResponse, ApiError> {
    let named = request.named_rev()?;
    let (attachment, data) = app
        .store
        .read(move |conn| {
            let db = databases::open(conn, &name)?;
            let row = documents::find(conn, db.id, &id)?.ok_or_else(ApiError::missing)?;
            let body_row = match named {
                Some(rev) => row
                    .tree
                    .get(&rev)
                    .and_then(|node| node.stored)
                    .and_then(|stored| stored.body),
                None if row.deleted => return Err(ApiError::deleted()),
                None => row.body,
            };
            let body = documents::body(conn, body_row.ok_or_else(ApiError::missing)?)?;
            let found = body
                .attachments
                .into_iter()
                .find(|attachment| attachment.name == file);
            let found = found.ok_or_else(|| {
                ApiError::new(
                    StatusCode::NOT_FOUND,
                    "not_found",
                    "Document is missing attachment",
                )
            })?;
            let data = found.data(conn)?;
            Ok((found, data))
        })
        .await?;
    let etag = format!("\"{}\"", STANDARD.encode(&attachment.digest));
    if request
        .header(header::IF_NONE_MATCH)
        .is_some_and(|seen| seen.contains(&etag))
    {
        return Ok(
            ApiResponse::text(StatusCode::NOT_MODIFIED, String::new()).with(header::ETAG, etag)
        );
    }
    let response = ApiResponse {
        status: StatusCode::OK,
        headers: Vec::new(),
        body: Body::full(Bytes::from(data)),
    };
    Ok(response
        .with(header::CONTENT_TYPE, attachment.content_type)
        .with(header::ETAG, etag)
        .with(header::ACCEPT_RANGES, "none"))
}

async fn change(
    app: &App,
    request: &ApiRequest,
    name: String,
    id: String,
    file: String,
) -> Result<ApiResponse, ApiError> {
    incoming::check_id(&id)?;
    if file.starts_with('_') {
        return Err(ApiError::bad_request(
            "Attachment name starts with prohibited character '_'",
        ));
    }
    let rev = request.named_rev()?;
    let putting = request.method == Method::PUT;
    let new_file = putting.then(|| NewAttachment {
        name: file.clone(),
        content_type: request
            .header(header::CONTENT_TYPE)
            .unwrap_or("application/octet-stream")
            .to_owned(),
        revpos: None,
        data: Some(request.body.to_vec()),
    });
    let (id, rev) = app
        .store
        .write(move |transaction| {
            let mut db = databases::open(transaction.conn, &name)?;
            let row = documents::find(transaction.conn, db.id, &id)?;
            let new = with_file(transaction.conn, row.as_ref(), id, rev, &file, new_file)?;
            let rev = documents::save(transaction, &mut db, &new, Origin::Edit)?;
            db.store(transaction)?;
            Ok((new.id, rev))
        })
        .await?;
    let status = if putting {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    let response = obj([
        ("ok", true.into()),
        ("id", id.into()),
        ("rev", rev.to_string().into()),
    ]);
    Ok(ApiResponse::json(status, &response))
}

/// The edited document, with an attachment added, replaced or removed.
fn with_file(
    conn: &Connection,
    row: Option<&DocRow>,
    id: String,
    rev: Option<Rev>,
    file: &str,
    new_file: Option<NewAttachment>,
) -> Result<NewDoc, ApiError> {
    let mut new = NewDoc {
        id,
        deleted: false,
        body: Vec::new(),
        attachments: Vec::new(),
        history: Vec::new(),
    };
    match (row, &rev) {
        (Some(row), Some(rev)) if row.tree.is_leaf(rev) => {
            let stored = row.tree.get(rev).and_then(|node| node.stored);
            let body = documents::body(
                conn,
                stored
                    .and_then(|stored| stored.body)
                    .ok_or_else(ApiError::missing)?,
            )?;
            if let Ok(Json::Obj(members)) = Json::parse(body.text.as_bytes()) {
                new.body = members;
            }
            for old in &body.attachments {
                new.attachments.push(NewAttachment {
                    name: old.name.clone(),
                    content_type: old.content_type.clone(),
                    revpos: None,
                    data: None,
                });
            }
        }
        (None, None) => {}
        (Some(row), None) if row.deleted => {}
        _ => return Err(ApiError::conflict()),
    }
    if new_file.is_none() && !new.attachments.iter().any(|old| old.name == file) {
        return Err(ApiError::new(
            StatusCode::NOT_FOUND,
            "not_found",
            "Document is missing attachment",
        ));
    }
    new.attachments.retain(|old| old.name != file);
    // CouchDB lists the new attachment first.
    new.attachments.splice(0..0, new_file);
    new.history.extend(rev);
    Ok(new)
}

/// Uploads of attachments by an HTML form, which this server does not support.
pub(crate) async fn post_form(
    app: &App,
    _request: &ApiRequest,
    name: String,
    _id: String,
) -> Result<ApiResponse, ApiError> {
    app.store
        .read(move |conn| databases::open(conn, &name))
        .await?;
    Err(ApiError::not_implemented(
        "files are taken with PUT or inside documents, not as a form",
    ))
}
