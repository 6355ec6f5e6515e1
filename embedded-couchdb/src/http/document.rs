//! `/{db}/{id}`

use http::{StatusCode, header};

use super::{
    App,
    answer::Answer,
    attachments,
    call::{Call, decode},
    incoming,
    revisions::{Show, leaf_of, meta, open_revs, show},
};
use crate::{
    failure::Failure,
    json::{Json, obj},
    storage::{
        databases,
        documents::{self, NewDoc, Origin},
        revtree::Rev,
    },
};

/// `/{db}/{id}`
pub(crate) async fn document(
    app: &App,
    call: &Call,
    name: String,
    id: String,
) -> Result<Answer, Failure> {
    match call.method.as_str() {
        "GET" | "HEAD" => {
            incoming::check_id(&id)?;
            if call.query.get("open_revs").is_some() {
                open_revs(app, call, name, id).await
            } else {
                get(app, call, name, id).await
            }
        }
        "PUT" => put(app, call, name, id).await,
        "DELETE" => delete(app, call, name, id).await,
        "COPY" => copy(app, call, name, id).await,
        "POST" => attachments::post_form(app, call, name, id).await,
        _ => Err(Failure::method_not_allowed("DELETE,GET,HEAD,POST,PUT,COPY")),
    }
}

async fn get(app: &App, call: &Call, name: String, id: String) -> Result<Answer, Failure> {
    let options = Show::from_query(&call.query)?;
    let named = call.query.get("rev").map(Rev::parse).transpose()?;
    let latest = call.query.on("latest")?;
    let wants_multipart = options.attachments && attachments::accepts(call, "multipart/related");
    let found = app.store.read(move |conn| {
        let db = databases::open(conn, &name)?;
        let row = documents::find(conn, db.id, &id)?.ok_or_else(Failure::missing)?;
        let rev = match named {
            Some(rev) if latest => leaf_of(&row.tree, &rev).ok_or_else(Failure::missing)?,
            Some(rev) => rev,
            None if row.deleted => return Err(Failure::deleted()),
            None => row
                .tree
                .winner()
                .map(|node| node.rev.clone())
                .ok_or_else(Failure::missing)?,
        };
        if wants_multipart && let Some(parts) = attachments::related(conn, &row, &rev, &options)? {
            return Ok((rev, Err(parts), true));
        }
        let text = show(conn, &row, &rev, &options)?.ok_or_else(Failure::missing)?;
        // With what tells of other revisions, its own says too little about the answer.
        let plain = meta(&row.tree, &rev, row.seq, &options)
            .iter()
            .all(|(key, _)| *key == "_revisions");
        Ok((rev, Ok(text), plain))
    });
    let (rev, content, plain) = found.await?;
    let etag = format!("\"{rev}\"");
    if plain
        && call
            .header(header::IF_NONE_MATCH)
            .is_some_and(|seen| seen.contains(&etag))
    {
        return Ok(Answer::text(StatusCode::NOT_MODIFIED, String::new()).with(header::ETAG, etag));
    }
    let answer = match content {
        Ok(mut text) => {
            text.push('\n');
            Answer::text(StatusCode::OK, text)
        }
        Err(parts) => parts.answer(),
    };
    Ok(if plain {
        answer.with(header::ETAG, etag)
    } else {
        answer
    })
}

/// Reads the body of a PUT, whatever form it has.
pub(crate) fn sent(call: &Call) -> Result<incoming::Doc, Failure> {
    let kind = call.header(header::CONTENT_TYPE).unwrap_or_default();
    let mut doc = if kind.starts_with("multipart/related") {
        attachments::parse_related(kind, &call.body)?
    } else {
        if call.body.is_empty() {
            return Err(Failure::bad_request("Missing request body"));
        }
        let json = call.json()?;
        if json.as_obj().is_none() {
            return Err(Failure::bad_request("Document must be a JSON object"));
        }
        incoming::parse(json)?
    };
    let in_query = call.query.get("rev").map(Rev::parse).transpose()?;
    let in_header = call.if_match().map(Rev::parse).transpose()?;
    for named in [&in_query, &in_header].into_iter().flatten() {
        if doc.rev.as_ref().is_some_and(|rev| rev != named) {
            return Err(Failure::bad_request(
                "Document rev from request body and query string have different values",
            ));
        }
        doc.rev = Some(named.clone());
    }
    Ok(doc)
}

async fn put(app: &App, call: &Call, name: String, id: String) -> Result<Answer, Failure> {
    incoming::check_id(&id)?;
    let doc = sent(call)?;
    let (new, origin) = if call.query.flag("new_edits")? == Some(false) {
        (doc.into_replicated(id)?, Origin::Replication)
    } else {
        (doc.into_edit(id)?, Origin::Edit)
    };
    let deleted = new.deleted;
    let (id, rev) = save(app, name, new, origin).await?;
    if call.query.get("batch") == Some("ok") {
        return Ok(Answer::json(
            StatusCode::ACCEPTED,
            &obj([("ok", true.into()), ("id", id.into())]),
        ));
    }
    let status = if deleted {
        StatusCode::OK
    } else {
        StatusCode::CREATED
    };
    Ok(saved(call, status, &id, &rev))
}

async fn save(
    app: &App,
    name: String,
    new: NewDoc,
    origin: Origin,
) -> Result<(String, Rev), Failure> {
    app.store
        .write(move |writing| {
            let mut db = databases::open(writing.conn, &name)?;
            let rev = documents::save(writing, &mut db, &new, origin)?;
            db.store(writing)?;
            Ok((new.id, rev))
        })
        .await
}

/// The answer to a stored revision.
pub(crate) fn saved(call: &Call, status: StatusCode, id: &str, rev: &Rev) -> Answer {
    Answer::json(
        status,
        &obj([
            ("ok", true.into()),
            ("id", id.into()),
            ("rev", rev.to_string().into()),
        ]),
    )
    .with(header::ETAG, format!("\"{rev}\""))
    .with(
        header::LOCATION,
        format!("{}{}", call.base(), call.raw_path),
    )
}

async fn delete(app: &App, call: &Call, name: String, id: String) -> Result<Answer, Failure> {
    incoming::check_id(&id)?;
    let rev = call.named_rev()?;
    let (id, rev) = app
        .store
        .write(move |writing| {
            let mut db = databases::open(writing.conn, &name)?;
            match documents::find(writing.conn, db.id, &id)? {
                None => return Err(Failure::missing()),
                Some(row) if row.deleted => return Err(Failure::deleted()),
                Some(_) => {}
            }
            let new = NewDoc {
                id,
                deleted: true,
                body: Vec::new(),
                attachments: Vec::new(),
                history: rev.into_iter().collect(),
            };
            let rev = documents::save(writing, &mut db, &new, Origin::Edit)?;
            db.store(writing)?;
            Ok((new.id, rev))
        })
        .await?;
    Ok(Answer::ok(&obj([
        ("ok", true.into()),
        ("id", id.into()),
        ("rev", rev.to_string().into()),
    ]))
    .with(header::ETAG, format!("\"{rev}\"")))
}

async fn copy(app: &App, call: &Call, name: String, id: String) -> Result<Answer, Failure> {
    let destination = call
        .headers
        .get("destination")
        .and_then(|value| value.to_str().ok())
        .ok_or_else(|| Failure::bad_request("Destination header is mandatory for COPY."))?;
    let (target, target_rev) = match destination.split_once("?rev=") {
        Some((target, rev)) => (target, Some(Rev::parse(rev)?)),
        None => (destination, None),
    };
    let target = decode(target.trim_start_matches('/'))
        .ok_or_else(|| Failure::bad_request("invalid UTF-8 in Destination"))?;
    incoming::check_id(&target)?;
    let source_rev = call.query.get("rev").map(Rev::parse).transpose()?;
    let (new_id, rev) = app
        .store
        .write(move |writing| {
            let mut db = databases::open(writing.conn, &name)?;
            let row = documents::find(writing.conn, db.id, &id)?.ok_or_else(Failure::missing)?;
            let source = match source_rev {
                Some(rev) => rev,
                None if row.deleted => return Err(Failure::deleted()),
                None => row
                    .tree
                    .winner()
                    .map(|node| node.rev.clone())
                    .ok_or_else(Failure::missing)?,
            };
            let stored = row
                .tree
                .get(&source)
                .and_then(|node| node.stored)
                .ok_or_else(Failure::missing)?;
            let body = documents::body(writing.conn, stored.body.ok_or_else(Failure::missing)?)?;
            let Ok(Json::Obj(members)) = Json::parse(body.text.as_bytes()) else {
                return Err(Failure::internal("a stored document cannot be read"));
            };
            let mut attachments = Vec::new();
            for attachment in &body.attachments {
                attachments.push(documents::NewAttachment {
                    name: attachment.name.clone(),
                    content_type: attachment.content_type.clone(),
                    revpos: None,
                    data: Some(attachment.data(writing.conn)?),
                });
            }
            let new = NewDoc {
                id: target,
                deleted: false,
                body: members,
                attachments,
                history: target_rev.into_iter().collect(),
            };
            let rev = documents::save(writing, &mut db, &new, Origin::Edit)?;
            db.store(writing)?;
            Ok((new.id, rev))
        })
        .await?;
    Ok(Answer::json(
        StatusCode::CREATED,
        &obj([
            ("ok", true.into()),
            ("id", new_id.as_str().into()),
            ("rev", rev.to_string().into()),
        ]),
    )
    .with(header::ETAG, format!("\"{rev}\""))
    .with(
        header::LOCATION,
        format!(
            "{}/{}/{new_id}",
            call.base(),
            call.raw_path.split('/').nth(1).unwrap_or_default()
        ),
    ))
}
