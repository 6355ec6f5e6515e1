//! `/{db}/{id}`

use http::{StatusCode, header};
use rusqlite::Connection;

use super::{
    app::App,
    form, incoming, multipart,
    request::{ApiRequest, decode},
    response::ApiResponse,
    revisions::{doc_options, open_revs},
    writing,
};
use crate::{
    api_error::ApiError,
    erlang::local_etag,
    json::{Json, obj},
    rendering::{DocOptions, meta_members, render_revision},
    storage::{
        databases::{self, Database},
        documents::{self, Attachment, DocRow, NewDoc, Origin},
        locals,
        revtree::Rev,
    },
};

/// `/{db}/{id}`
pub(crate) async fn document(
    app: &App,
    request: &ApiRequest,
    name: String,
    id: String,
) -> Result<ApiResponse, ApiError> {
    match request.method.as_str() {
        "GET" | "HEAD" => {
            incoming::check_id(&id)?;
            // An empty list asks for nothing in particular.
            if request
                .query
                .last_of(&["open_revs"])
                .is_some_and(|list| list.trim() != "[]")
            {
                open_revs(app, request, name, id).await
            } else {
                get(app, request, name, id).await
            }
        }
        "PUT" => put(app, request, name, id).await,
        "DELETE" => delete(app, request, name, id).await,
        "COPY" => copy(app, request, name, id).await,
        "POST" => form::post_form(app, request, name, id).await,
        _ => Err(ApiError::method_not_allowed(
            "DELETE,GET,HEAD,POST,PUT,COPY",
        )),
    }
}

async fn get(
    app: &App,
    request: &ApiRequest,
    name: String,
    id: String,
) -> Result<ApiResponse, ApiError> {
    let options = doc_options(&request.query)?;
    request.check_reads()?;
    let shows_deleted = request.query.is_on("deleted");
    let named = request.query.rev()?;
    // CouchDB shows the winner then, whatever revision is named.
    let latest = request.query.is_on("latest");
    let options = if named.is_some() && !latest {
        options.of_revision()
    } else {
        options
    };
    let wants_multipart = (options.attachments || options.atts_since.is_some())
        && (request.header(header::ACCEPT).is_none()
            || ["multipart/related", "multipart/*", "*/*"]
                .iter()
                .any(|kind| request.accepts(kind)));
    let found = app.store.read(move |conn| {
        let db = databases::open(conn, &name)?;
        let row = documents::find(conn, db.id, &id)?.ok_or_else(ApiError::missing)?;
        let rev = match named {
            Some(rev) if !latest => rev,
            _ if row.deleted && !shows_deleted => return Err(ApiError::deleted()),
            _ => row
                .tree
                .winner()
                .map(|node| node.rev.clone())
                .ok_or_else(ApiError::missing)?,
        };
        let options = DocOptions {
            att_encoding_info: options.att_encoding_info || wants_multipart,
            ..options
        };
        if wants_multipart && let Some(parts) = multipart::related(conn, &row, &rev, &options)? {
            return Ok((rev, Err(parts), true));
        }
        let text = render_revision(conn, &row, &rev, &options)?.ok_or_else(ApiError::missing)?;
        // The etag is the revision. It cannot stand for a response that depends on other revisions.
        let plain = meta_members(&row.tree, &rev, row.seq, &options)
            .iter()
            .all(|(key, _)| *key == "_revisions");
        Ok((rev, Ok(text), plain))
    });
    let (rev, content, plain) = found.await?;
    let etag = format!("\"{rev}\"");
    if plain && request.has_seen(&etag) {
        return Ok(ApiResponse::not_modified(etag));
    }
    let response = match content {
        Ok(mut text) => {
            text.push('\n');
            ApiResponse::text(StatusCode::OK, text)
        }
        Err(parts) => parts.to_response(),
    };
    Ok(if plain {
        response.with(header::ETAG, etag)
    } else {
        response
    })
}

/// Parses the body of a PUT, which is JSON or multipart.
pub(crate) fn sent(request: &ApiRequest) -> Result<incoming::IncomingDoc, ApiError> {
    let kind = request.header(header::CONTENT_TYPE).unwrap_or_default();
    let in_query = request.query.rev()?;
    let mut doc = if kind.starts_with("multipart/related") {
        multipart::parse_related(kind, &request.body()?)?
    } else {
        if request.sent_body.is_empty() {
            return Err(ApiError::bad_request("Missing request body"));
        }
        let json = request.json()?;
        if json.as_obj().is_none() {
            return Err(ApiError::bad_request("Document must be a JSON object"));
        }
        incoming::parse(json)?
    };
    let in_header = request.if_match().map(Rev::parse).transpose()?;
    for (named, difference) in [
        (
            in_query,
            "Document rev from request body and query string have different values",
        ),
        (in_header, "Document rev and etag have different values"),
    ] {
        let Some(named) = named else { continue };
        if doc.rev.as_ref().is_some_and(|rev| *rev != named) {
            return Err(ApiError::bad_request(difference));
        }
        doc.rev = Some(named);
    }
    Ok(doc)
}

async fn put(
    app: &App,
    request: &ApiRequest,
    name: String,
    id: String,
) -> Result<ApiResponse, ApiError> {
    incoming::check_id(&id)?;
    let doc = sent(request)?;
    let more_copies = request.wants_more_copies()?;
    let (new, origin) = if request.query.last_of(&["new_edits"]) == Some("false") {
        (doc.into_replicated(id)?, Origin::Replication)
    } else {
        (doc.into_edit(id)?, Origin::Edit)
    };
    let deleted = new.deleted;
    let id = new.id.clone();
    let local = is_local(&id).then(|| new.body.clone());
    let rev = writing::save(app, &request.caller, &name, new, origin).await?;
    if request.query.get("batch") == Some("ok") {
        return Ok(ApiResponse::json(
            StatusCode::ACCEPTED,
            &obj([("ok", true.into()), ("id", id.into())]),
        ));
    }
    let status = if more_copies {
        StatusCode::ACCEPTED
    } else if deleted {
        StatusCode::OK
    } else {
        StatusCode::CREATED
    };
    let mut response = saved(request, status, &name, &id, &rev);
    if let Some(body) = local {
        let number = rev.id.parse().unwrap_or_default();
        response = response.with(header::ETAG, local_etag(number, &body));
    }
    Ok(response)
}

fn is_local(id: &str) -> bool {
    id.starts_with("_local/")
}

/// The response to a write of a document that is not local.
pub(crate) fn saved(
    request: &ApiRequest,
    status: StatusCode,
    name: &str,
    id: &str,
    rev: &Rev,
) -> ApiResponse {
    let body = obj([
        ("ok", true.into()),
        ("id", id.into()),
        ("rev", rev.to_string().into()),
    ]);
    ApiResponse::json(status, &body)
        .with(header::ETAG, format!("\"{rev}\""))
        .with(header::LOCATION, request.location(&[name, id]))
}

async fn delete(
    app: &App,
    request: &ApiRequest,
    name: String,
    id: String,
) -> Result<ApiResponse, ApiError> {
    incoming::check_id(&id)?;
    let rev = request.named_rev()?;
    let status = if request.wants_more_copies()? {
        StatusCode::ACCEPTED
    } else {
        StatusCode::OK
    };
    let (database, wanted) = (name.clone(), id.clone());
    app.store
        .read(move |conn| {
            let db = databases::open(conn, &database)?;
            match documents::find(conn, db.id, &wanted)? {
                None => Err(ApiError::missing()),
                Some(row) if row.deleted => Err(ApiError::deleted()),
                Some(_) => Ok(()),
            }
        })
        .await?;
    let new = NewDoc {
        id: id.clone(),
        deleted: true,
        body: Vec::new(),
        attachments: Vec::new(),
        history: rev.into_iter().collect(),
    };
    let rev = writing::save(app, &request.caller, &name, new, Origin::Edit).await?;
    let body = obj([
        ("ok", true.into()),
        ("id", id.into()),
        ("rev", rev.to_string().into()),
    ]);
    Ok(ApiResponse::json(status, &body).with(header::ETAG, format!("\"{rev}\"")))
}

/// The members and the attachments of a revision.
type StoredRevision = (Vec<(String, Json)>, Vec<Attachment>);

/// Reads a stored revision.
pub(crate) fn stored(
    conn: &Connection,
    row: &DocRow,
    rev: &Rev,
) -> Result<StoredRevision, ApiError> {
    let node = row.tree.get(rev).and_then(|node| node.stored);
    let body_row = node
        .and_then(|stored| stored.body)
        .ok_or_else(ApiError::missing)?;
    let body = documents::body(conn, body_row)?;
    Ok((documents::members(&body.text)?, body.attachments))
}

/// Reads the revision to copy: the one that is named, or the winner.
fn source(
    conn: &Connection,
    db: &Database,
    id: &str,
    rev: Option<Rev>,
) -> Result<StoredRevision, ApiError> {
    if is_local(id) {
        let (_, body) = locals::find(conn, db.id, id)?.ok_or_else(ApiError::missing)?;
        return Ok((documents::members(&body)?, Vec::new()));
    }
    let row = documents::find(conn, db.id, id)?.ok_or_else(ApiError::missing)?;
    let rev = match rev {
        Some(rev) => rev,
        None if row.deleted => return Err(ApiError::deleted()),
        None => row
            .tree
            .winner()
            .map(|node| node.rev.clone())
            .ok_or_else(ApiError::missing)?,
    };
    stored(conn, &row, &rev)
}

async fn copy(
    app: &App,
    request: &ApiRequest,
    name: String,
    id: String,
) -> Result<ApiResponse, ApiError> {
    let destination = request
        .headers
        .get("destination")
        .and_then(|value| value.to_str().ok())
        .ok_or_else(|| ApiError::bad_request("Destination header is mandatory for COPY."))?;
    if destination.starts_with("http://") || destination.starts_with("https://") {
        return Err(ApiError::bad_request("Destination URL must be relative."));
    }
    let (target, target_rev) = match destination.split_once('?') {
        Some((target, query)) => {
            let rev = query.strip_prefix("rev=").unwrap_or_default();
            (target, Some(Rev::parse(rev)?))
        }
        None => (destination, None),
    };
    let target =
        decode(target).ok_or_else(|| ApiError::illegal_docid("Document id must be valid UTF-8"))?;
    incoming::check_id(&target)?;
    let source_rev = request.named_rev()?;
    let database = name.clone();
    let new = app
        .store
        .read(move |conn| {
            let db = databases::open(conn, &database)?;
            let (members, attachments) = source(conn, &db, &id, source_rev)?;
            let attachments = attachments
                .iter()
                .map(|attachment| attachment.copied(conn))
                .collect::<Result<_, _>>()?;
            Ok(NewDoc {
                id: target,
                deleted: false,
                body: members,
                attachments,
                history: target_rev.into_iter().collect(),
            })
        })
        .await?;
    let new_id = new.id.clone();
    let rev = writing::save(app, &request.caller, &name, new, Origin::Edit).await?;
    Ok(saved(request, StatusCode::CREATED, &name, &new_id, &rev))
}
