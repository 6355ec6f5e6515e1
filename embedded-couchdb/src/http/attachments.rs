//! `/{db}/{id}/{name}`

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{Method, StatusCode, header};
use rusqlite::Connection;

use super::{
    app::App,
    body::Body,
    incoming, multipart,
    ranges::{self, Wanted},
    request::ApiRequest,
    response::ApiResponse,
    writing,
};
use crate::{
    api_error::ApiError,
    json::{Json, obj},
    storage::{
        attachment_data::{self, Data},
        databases,
        documents::{self, Attachment, DocRow, NewAttachment, NewDoc, Origin},
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
    let named = request.query.get("rev").map(Rev::parse).transpose()?;
    let takes_gzip = request.takes_gzip();
    let (attachment, is_gzip, data) = app
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
                .find(|attachment| attachment.name == file)
                .ok_or_else(ApiError::no_attachment)?;
            let is_gzip = found.packed_length.is_some() && takes_gzip;
            let data = if is_gzip {
                found.stored(conn)?
            } else {
                found.plain(conn)?
            };
            Ok((found, is_gzip, data))
        })
        .await?;
    let etag = format!("\"{}\"", STANDARD.encode(&attachment.digest));
    if request.has_seen(&etag) {
        return Ok(
            ApiResponse::text(StatusCode::NOT_MODIFIED, String::new()).with(header::ETAG, etag)
        );
    }
    let response = if attachment.packed_length.is_some() {
        let response = whole(data).with(header::ACCEPT_RANGES, "none");
        if is_gzip {
            response.with(header::CONTENT_ENCODING, "gzip")
        } else {
            response
        }
    } else {
        let wanted = ranges::parse(request.header(header::RANGE), data.len());
        match in_ranges(wanted, &attachment, Bytes::from(data))? {
            Sent::Bytes(response) => response,
            Sent::Ranges(response) => return Ok(response),
        }
    };
    Ok(response
        .with(header::ETAG, etag)
        // A page that somebody stored runs no script in the name of this server.
        .with(header::CONTENT_SECURITY_POLICY, "sandbox")
        .with(header::CONTENT_TYPE, attachment.content_type))
}

/// A response with data, or one whose parts are ranges of it.
enum Sent {
    Bytes(ApiResponse),
    Ranges(ApiResponse),
}

fn whole(data: impl Into<Bytes>) -> ApiResponse {
    ApiResponse {
        status: StatusCode::OK,
        headers: Vec::new(),
        body: Body::full(data),
    }
}

fn in_ranges(wanted: Wanted, attachment: &Attachment, data: Bytes) -> Result<Sent, ApiError> {
    let length = data.len();
    let ranges = match wanted {
        Wanted::Everything => {
            return Ok(Sent::Bytes(
                whole(data).with(header::ACCEPT_RANGES, "bytes"),
            ));
        }
        Wanted::Unsatisfiable => {
            return Err(ApiError::new(
                StatusCode::RANGE_NOT_SATISFIABLE,
                "requested_range_not_satisfiable",
                "Requested range not satisfiable",
            ));
        }
        Wanted::Ranges(ranges) => ranges,
    };
    let content_range = |range: &std::ops::Range<usize>| {
        format!("bytes {}-{}/{length}", range.start, range.end - 1)
    };
    if let [range] = ranges.as_slice() {
        let mut response = whole(data.slice(range.clone()))
            .with(header::ACCEPT_RANGES, "bytes")
            .with(header::CONTENT_RANGE, content_range(range));
        response.status = StatusCode::PARTIAL_CONTENT;
        return Ok(Sent::Bytes(response));
    }
    let boundary = multipart::boundary();
    let mut out = Vec::new();
    for range in &ranges {
        let head = format!(
            "\r\n--{boundary}\r\nContent-Type: {}\r\nContent-Range: {}\r\n\r\n",
            multipart::single_line(&attachment.content_type),
            content_range(range),
        );
        out.extend_from_slice(head.as_bytes());
        // The ranges lie inside.
        out.extend_from_slice(data.get(range.clone()).unwrap_or_default());
    }
    out.extend_from_slice(format!("\r\n--{boundary}--").as_bytes());
    // The first delimiter has no line before it.
    let mut response = multipart::multipart("byteranges", &boundary, out.split_off(2));
    response.status = StatusCode::PARTIAL_CONTENT;
    Ok(Sent::Ranges(response))
}

/// The data of a PUT.
fn sent(request: &ApiRequest, content_type: &str) -> Result<Data, ApiError> {
    let bytes = request.sent_body.to_vec();
    match request.header(header::CONTENT_ENCODING) {
        None => Data::plain(content_type, bytes),
        Some(coding) if coding.eq_ignore_ascii_case("identity") => Data::plain(content_type, bytes),
        Some(coding) if coding.eq_ignore_ascii_case("gzip") => {
            // CouchDB stores what cannot be read afterwards.
            attachment_data::unpack(&bytes, "the body is said to be gzip and is not")?;
            Ok(Data::gzipped(bytes, None))
        }
        Some(_) => Err(ApiError::bad_content_type(
            "Only gzip and identity content-encodings are supported",
        )),
    }
}

async fn change(
    app: &App,
    request: &ApiRequest,
    name: String,
    id: String,
    file: String,
) -> Result<ApiResponse, ApiError> {
    incoming::check_id(&id)?;
    incoming::check_attachment_name(&file)?;
    let rev = request.named_rev()?;
    let more_copies = request.wants_more_copies()?;
    let putting = request.method == Method::PUT;
    let new_file = if putting {
        let content_type = request
            .header(header::CONTENT_TYPE)
            .unwrap_or("application/octet-stream");
        Some(NewAttachment {
            name: file.clone(),
            content_type: content_type.to_owned(),
            revpos: None,
            data: Some(sent(request, content_type)?),
        })
    } else {
        None
    };
    // CouchDB leaves the name of the database as it is here.
    let path = request.location(&[&id, &file]);
    let path = path.strip_prefix(&request.base()).unwrap_or_default();
    let location = format!("{}/{name}{path}", request.base());
    let database = name.clone();
    let new = app
        .store
        .read(move |conn| {
            let db = databases::open(conn, &database)?;
            let row = documents::find(conn, db.id, &id)?;
            with_file(conn, row.as_ref(), id, rev, &file, new_file)
        })
        .await?;
    let id = new.id.clone();
    let rev = writing::save(app, &request.caller, &name, new, Origin::Edit).await?;
    let response = obj([
        ("ok", true.into()),
        ("id", id.into()),
        ("rev", rev.to_string().into()),
    ]);
    let status = match (more_copies, putting) {
        (true, _) => StatusCode::ACCEPTED,
        (false, true) => StatusCode::CREATED,
        (false, false) => StatusCode::OK,
    };
    let response = ApiResponse::json(status, &response);
    Ok(if putting {
        response.with(header::LOCATION, location)
    } else {
        response
    })
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
    let live = row.filter(|row| !row.deleted);
    // Without a revision, a removal looks at the winner; the conflict is found after it.
    let base = match (&rev, live) {
        (None, Some(row)) if new_file.is_none() => row.tree.winner().map(|node| node.rev.clone()),
        _ => rev.clone(),
    };
    match (row, base) {
        (Some(row), Some(base)) if row.tree.is_leaf(&base) => {
            let stored = row.tree.get(&base).and_then(|node| node.stored);
            let body = documents::body(
                conn,
                stored
                    .and_then(|stored| stored.body)
                    .ok_or_else(ApiError::missing)?,
            )?;
            if let Ok(Json::Obj(members)) = Json::parse(body.text.as_bytes()) {
                new.body = members;
            }
            new.attachments
                .extend(body.attachments.iter().map(Attachment::kept));
        }
        (row, Some(base)) => {
            let stored = row.and_then(|row| row.tree.get(&base)?.stored?.body);
            let Some(stored) = stored else {
                return Err(ApiError::new(
                    StatusCode::CONFLICT,
                    "not_found",
                    "missing_rev",
                ));
            };
            let has_file = documents::body(conn, stored)?
                .attachments
                .iter()
                .any(|old| old.name == file);
            if new_file.is_none() && !has_file {
                return Err(ApiError::no_attachment());
            }
            return Err(ApiError::conflict());
        }
        (_, None) if new_file.is_none() => return Err(ApiError::missing()),
        (_, None) => {}
    }
    if new_file.is_none() && !new.attachments.iter().any(|old| old.name == file) {
        return Err(ApiError::no_attachment());
    }
    new.attachments.retain(|old| old.name != file);
    // CouchDB lists the new attachment first.
    new.attachments.splice(0..0, new_file);
    new.history.extend(rev);
    Ok(new)
}
