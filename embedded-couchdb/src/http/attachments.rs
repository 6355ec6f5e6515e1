//! Attachments: below `/{db}/{id}/{name}`, inside documents, and in multipart bodies.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{Method, StatusCode, header};
use rusqlite::Connection;

use super::{
    App,
    answer::Answer,
    body::Body,
    call::Call,
    incoming,
    revisions::{self, Show},
};
use crate::{
    failure::Failure,
    json::{Json, obj},
    storage::{
        databases,
        documents::{self, Attachment, DocRow, NewAttachment, NewDoc, Origin},
        revtree::{Rev, RevTree},
    },
};

/// Whether the client takes this type.
pub(crate) fn accepts(call: &Call, kind: &str) -> bool {
    call.header(header::ACCEPT).is_some_and(|accepted| {
        accepted
            .split(',')
            .any(|entry| entry.split(';').next().unwrap_or_default().trim() == kind)
    })
}

/// Whether the data of an attachment is to be sent along.
fn wanted(tree: &RevTree, rev: &Rev, attachment: &Attachment, show: &Show) -> bool {
    let Some(since) = &show.atts_since else {
        return show.attachments;
    };
    // The client has what came with an ancestor that it names.
    let newest = tree
        .path(rev)
        .iter()
        .filter(|node| since.contains(&node.rev.to_string()))
        .map(|node| node.rev.pos)
        .max()
        .unwrap_or(0);
    attachment.revpos > newest
}

/// `_attachments` of a document.
pub(crate) fn list(
    conn: &Connection,
    tree: &RevTree,
    rev: &Rev,
    attachments: &[Attachment],
    show: &Show,
) -> Result<Json, Failure> {
    let mut members = Vec::new();
    for attachment in attachments {
        let entry = if wanted(tree, rev, attachment, show) {
            obj([
                ("content_type", attachment.content_type.as_str().into()),
                ("revpos", attachment.revpos.into()),
                ("digest", attachment.digest_text().into()),
                ("data", STANDARD.encode(attachment.data(conn)?).into()),
            ])
        } else {
            attachment.stub()
        };
        members.push((attachment.name.clone(), entry));
    }
    Ok(Json::Obj(members))
}

/// A document followed by the data of its attachments.
pub(crate) struct Related {
    document: String,
    files: Vec<(Attachment, Vec<u8>)>,
}

/// The parts of a revision; none if no data follows.
pub(crate) fn related(
    conn: &Connection,
    row: &DocRow,
    rev: &Rev,
    show: &Show,
) -> Result<Option<Related>, Failure> {
    let Some(stored) = row.tree.get(rev).and_then(|node| node.stored) else {
        return Ok(None);
    };
    let Some(body_row) = stored.body else {
        return Ok(None);
    };
    let body = documents::body(conn, body_row)?;
    let mut files = Vec::new();
    let mut entries = Vec::new();
    for attachment in &body.attachments {
        let mut entry = attachment.stub();
        if wanted(&row.tree, rev, attachment, show) {
            if let Json::Obj(members) = &mut entry {
                members.retain(|(key, _)| key != "stub");
                members.push(("follows".to_owned(), true.into()));
            }
            files.push((attachment.clone(), attachment.data(conn)?));
        }
        entries.push((attachment.name.clone(), entry));
    }
    if files.is_empty() {
        return Ok(None);
    }
    let mut extra = revisions::meta(&row.tree, rev, row.seq, show);
    extra.push(("_attachments", Json::Obj(entries)));
    let document = documents::render(
        &row.id,
        &rev.to_string(),
        stored.deleted,
        &body.text,
        &extra,
    );
    Ok(Some(Related { document, files }))
}

fn boundary() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

impl Related {
    fn write(&self, boundary: &str, out: &mut Vec<u8>) {
        let json = format!(
            "--{boundary}\r\nContent-Type: application/json\r\n\r\n{}",
            self.document
        );
        out.extend_from_slice(json.as_bytes());
        for (attachment, data) in &self.files {
            let head = format!(
                "\r\n--{boundary}\r\nContent-Disposition: attachment; filename=\"{}\"\r\nContent-Type: {}\r\nContent-Length: {}\r\n\r\n",
                attachment.name.replace('"', "'"),
                attachment.content_type,
                data.len(),
            );
            out.extend_from_slice(head.as_bytes());
            out.extend_from_slice(data);
        }
        out.extend_from_slice(format!("\r\n--{boundary}--").as_bytes());
    }

    pub(crate) fn answer(&self) -> Answer {
        let boundary = boundary();
        let mut out = Vec::new();
        self.write(&boundary, &mut out);
        multipart("related", &boundary, out)
    }
}

fn multipart(kind: &str, boundary: &str, out: Vec<u8>) -> Answer {
    Answer {
        status: StatusCode::OK,
        headers: Vec::new(),
        body: Body::full(Bytes::from(out)),
    }
    .with(
        header::CONTENT_TYPE,
        format!("multipart/{kind}; boundary=\"{boundary}\""),
    )
}

/// One revision of several.
pub(crate) enum Part {
    Json(String),
    Related(Related),
    Error(String),
}

/// Several revisions as `multipart/mixed`.
pub(crate) fn mixed(parts: Vec<Part>) -> Answer {
    let outer = boundary();
    let mut out = Vec::new();
    for part in parts {
        out.extend_from_slice(format!("--{outer}\r\n").as_bytes());
        match part {
            Part::Json(text) => out.extend_from_slice(
                format!("Content-Type: application/json\r\n\r\n{text}").as_bytes(),
            ),
            Part::Error(text) => {
                out.extend_from_slice(
                    format!("Content-Type: application/json; error=\"true\"\r\n\r\n{text}")
                        .as_bytes(),
                );
            }
            Part::Related(related) => {
                let inner = boundary();
                out.extend_from_slice(
                    format!("Content-Type: multipart/related; boundary=\"{inner}\"\r\n\r\n")
                        .as_bytes(),
                );
                related.write(&inner, &mut out);
            }
        }
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(format!("--{outer}--").as_bytes());
    multipart("mixed", &outer, out)
}

/// Reads a document that is followed by the data of its attachments.
pub(crate) fn parse_related(content_type: &str, body: &[u8]) -> Result<incoming::Doc, Failure> {
    let broken = || Failure::bad_request("the multipart body cannot be read");
    let boundary = content_type
        .split(';')
        .find_map(|parameter| parameter.trim().strip_prefix("boundary="))
        .map(|boundary| boundary.trim_matches('"'))
        .ok_or_else(broken)?;
    let mut parts = parts(body, format!("--{boundary}").as_bytes())
        .ok_or_else(broken)?
        .into_iter();
    let (_, json) = parts.next().ok_or_else(broken)?;
    let json = Json::parse(json).map_err(|_| Failure::bad_json())?;
    let mut doc = incoming::parse(json)?;
    let mut files: Vec<(Option<String>, &[u8])> =
        parts.map(|(head, data)| (filename(&head), data)).collect();
    for following in std::mem::take(&mut doc.following) {
        let name = &following.name;
        // Parts name their file, or else follow in the order of the document.
        let at = files
            .iter()
            .position(|(named, _)| named.as_ref() == Some(name))
            .unwrap_or(0);
        if at >= files.len() {
            return Err(broken());
        }
        let (_, data) = files.remove(at);
        if data.len() != following.length {
            return Err(Failure::bad_request(format!(
                "the length of attachment {name} is not what was announced"
            )));
        }
        let data = if following.encoded {
            incoming::unpack(data)?
        } else {
            data.to_vec()
        };
        if let Some(attachment) = doc
            .attachments
            .iter_mut()
            .find(|attachment| attachment.name == *name)
        {
            attachment.data = Some(data);
        }
    }
    Ok(doc)
}

fn filename(head: &str) -> Option<String> {
    let at = head.find("filename=\"")? + 10;
    let rest = head.get(at..)?;
    Some(rest.get(..rest.find('"')?)?.to_owned())
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}

/// Head and content of each part.
fn parts<'a>(body: &'a [u8], delimiter: &[u8]) -> Option<Vec<(String, &'a [u8])>> {
    let start = find(body, delimiter)?;
    let mut rest = body.get(start + delimiter.len()..)?;
    let mut inner = b"\r\n".to_vec();
    inner.extend_from_slice(delimiter);
    let mut found = Vec::new();
    while !rest.starts_with(b"--") {
        let end = find(rest, &inner)?;
        let part = rest.get(..end)?;
        rest = rest.get(end + inner.len()..)?;
        // A part without headers starts with an empty line.
        let split = find(part, b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(part.get(..split)?).into_owned();
        found.push((head, part.get(split + 4..)?));
    }
    Some(found)
}

/// `/{db}/{id}/{name}`
pub(crate) async fn attachment(
    app: &App,
    call: &Call,
    name: String,
    id: String,
    file: String,
) -> Result<Answer, Failure> {
    match call.method {
        Method::GET | Method::HEAD => get(app, call, name, id, file).await,
        Method::PUT | Method::DELETE => change(app, call, name, id, file).await,
        _ => Err(Failure::method_not_allowed("DELETE,GET,HEAD,PUT")),
    }
}

async fn get(
    app: &App,
    call: &Call,
    name: String,
    id: String,
    file: String,
) -> Result<Answer, Failure> {
    let named = call.named_rev()?;
    let (attachment, data) = app
        .store
        .read(move |conn| {
            let db = databases::open(conn, &name)?;
            let row = documents::find(conn, db.id, &id)?.ok_or_else(Failure::missing)?;
            let body_row = match named {
                Some(rev) => row
                    .tree
                    .get(&rev)
                    .and_then(|node| node.stored)
                    .and_then(|stored| stored.body),
                None if row.deleted => return Err(Failure::deleted()),
                None => row.body,
            };
            let body = documents::body(conn, body_row.ok_or_else(Failure::missing)?)?;
            let found = body
                .attachments
                .into_iter()
                .find(|attachment| attachment.name == file);
            let found = found.ok_or_else(|| {
                Failure::new(
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
    if call
        .header(header::IF_NONE_MATCH)
        .is_some_and(|seen| seen.contains(&etag))
    {
        return Ok(Answer::text(StatusCode::NOT_MODIFIED, String::new()).with(header::ETAG, etag));
    }
    let answer = Answer {
        status: StatusCode::OK,
        headers: Vec::new(),
        body: Body::full(Bytes::from(data)),
    };
    Ok(answer
        .with(header::CONTENT_TYPE, attachment.content_type)
        .with(header::ETAG, etag)
        .with(header::ACCEPT_RANGES, "none"))
}

async fn change(
    app: &App,
    call: &Call,
    name: String,
    id: String,
    file: String,
) -> Result<Answer, Failure> {
    incoming::check_id(&id)?;
    if file.starts_with('_') {
        return Err(Failure::bad_request(
            "Attachment name starts with prohibited character '_'",
        ));
    }
    let rev = call.named_rev()?;
    let putting = call.method == Method::PUT;
    let new_file = putting.then(|| NewAttachment {
        name: file.clone(),
        content_type: call
            .header(header::CONTENT_TYPE)
            .unwrap_or("application/octet-stream")
            .to_owned(),
        revpos: None,
        data: Some(call.body.to_vec()),
    });
    let (id, rev) = app
        .store
        .write(move |writing| {
            let mut db = databases::open(writing.conn, &name)?;
            let row = documents::find(writing.conn, db.id, &id)?;
            let new = with_file(writing.conn, row.as_ref(), id, rev, &file, new_file)?;
            let rev = documents::save(writing, &mut db, &new, Origin::Edit)?;
            db.store(writing)?;
            Ok((new.id, rev))
        })
        .await?;
    let status = if putting {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    let answer = obj([
        ("ok", true.into()),
        ("id", id.into()),
        ("rev", rev.to_string().into()),
    ]);
    Ok(Answer::json(status, &answer))
}

/// The edited revision with a file added, replaced or removed.
fn with_file(
    conn: &Connection,
    row: Option<&DocRow>,
    id: String,
    rev: Option<Rev>,
    file: &str,
    new_file: Option<NewAttachment>,
) -> Result<NewDoc, Failure> {
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
                    .ok_or_else(Failure::missing)?,
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
        _ => return Err(Failure::conflict()),
    }
    if new_file.is_none() && !new.attachments.iter().any(|old| old.name == file) {
        return Err(Failure::new(
            StatusCode::NOT_FOUND,
            "not_found",
            "Document is missing attachment",
        ));
    }
    new.attachments.retain(|old| old.name != file);
    // CouchDB lists the new one first.
    new.attachments.splice(0..0, new_file);
    new.history.extend(rev);
    Ok(new)
}

/// A browser's form with files, which nothing here sends.
pub(crate) async fn post_form(
    app: &App,
    _call: &Call,
    name: String,
    _id: String,
) -> Result<Answer, Failure> {
    app.store
        .read(move |conn| databases::open(conn, &name))
        .await?;
    Err(Failure::not_implemented(
        "files are taken with PUT or inside documents, not as a form",
    ))
}
