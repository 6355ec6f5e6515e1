//! Multipart bodies: documents with the data of their attachments, and several revisions at once.

use bytes::Bytes;
use http::{StatusCode, header};
use rusqlite::Connection;

use super::{body::Body, incoming, response::ApiResponse};
use crate::{
    api_error::ApiError,
    json::Json,
    rendering::{DocOptions, meta_members, sends_data},
    storage::{
        documents::{self, Attachment, DocRow},
        revtree::Rev,
    },
};

/// A `multipart/related` body: a document followed by the data of its attachments.
pub(crate) struct RelatedBody {
    document: String,
    files: Vec<(Attachment, Vec<u8>)>,
}

/// The body for a revision; `None` if it has no attachment to send.
pub(crate) fn related(
    conn: &Connection,
    row: &DocRow,
    rev: &Rev,
    options: &DocOptions,
) -> Result<Option<RelatedBody>, ApiError> {
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
        if sends_data(&row.tree, rev, attachment, options) {
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
    let mut extra = meta_members(&row.tree, rev, row.seq, options);
    extra.push(("_attachments", Json::Obj(entries)));
    let document = documents::render(
        &row.id,
        &rev.to_string(),
        stored.deleted,
        &body.text,
        &extra,
    );
    Ok(Some(RelatedBody { document, files }))
}

fn boundary() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

impl RelatedBody {
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

    pub(crate) fn to_response(&self) -> ApiResponse {
        let boundary = boundary();
        let mut out = Vec::new();
        self.write(&boundary, &mut out);
        multipart("related", &boundary, out)
    }
}

fn multipart(kind: &str, boundary: &str, out: Vec<u8>) -> ApiResponse {
    ApiResponse {
        status: StatusCode::OK,
        headers: Vec::new(),
        body: Body::full(Bytes::from(out)),
    }
    .with(
        header::CONTENT_TYPE,
        format!("multipart/{kind}; boundary=\"{boundary}\""),
    )
}

/// A part of a `multipart/mixed` body.
pub(crate) enum MixedPart {
    Json(String),
    Related(RelatedBody),
    Error(String),
}

/// A response with several revisions as `multipart/mixed`.
pub(crate) fn mixed(parts: Vec<MixedPart>) -> ApiResponse {
    let outer = boundary();
    let mut out = Vec::new();
    for part in parts {
        out.extend_from_slice(format!("--{outer}\r\n").as_bytes());
        match part {
            MixedPart::Json(text) => out.extend_from_slice(
                format!("Content-Type: application/json\r\n\r\n{text}").as_bytes(),
            ),
            MixedPart::Error(text) => {
                out.extend_from_slice(
                    format!("Content-Type: application/json; error=\"true\"\r\n\r\n{text}")
                        .as_bytes(),
                );
            }
            MixedPart::Related(related) => {
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

/// Parses a `multipart/related` body.
pub(crate) fn parse_related(
    content_type: &str,
    body: &[u8],
) -> Result<incoming::IncomingDoc, ApiError> {
    let broken = || ApiError::bad_request("the multipart body cannot be read");
    let boundary = content_type
        .split(';')
        .find_map(|parameter| parameter.trim().strip_prefix("boundary="))
        .map(|boundary| boundary.trim_matches('"'))
        .ok_or_else(broken)?;
    let mut parts = parts(body, format!("--{boundary}").as_bytes())
        .ok_or_else(broken)?
        .into_iter();
    let (_, json) = parts.next().ok_or_else(broken)?;
    let json = Json::parse(json).map_err(|_| ApiError::bad_json())?;
    let mut doc = incoming::parse(json)?;
    let mut files: Vec<(Option<String>, &[u8])> =
        parts.map(|(head, data)| (filename(&head), data)).collect();
    for following in std::mem::take(&mut doc.following) {
        let name = &following.name;
        // A part without a file name belongs to the next attachment in the order of the document.
        let at = files
            .iter()
            .position(|(named, _)| named.as_ref() == Some(name))
            .unwrap_or(0);
        if at >= files.len() {
            return Err(broken());
        }
        let (_, data) = files.remove(at);
        if data.len() != following.length {
            return Err(ApiError::bad_request(format!(
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

/// The head and the content of each part.
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
        // The head of a part without headers is empty.
        let split = find(part, b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(part.get(..split)?).into_owned();
        found.push((head, part.get(split + 4..)?));
    }
    Some(found)
}
