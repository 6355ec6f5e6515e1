//! Multipart bodies: documents with the data of their attachments, and several revisions at once.

use std::cmp::Ordering;

use bytes::Bytes;
use http::{StatusCode, header};
use md5::{Digest as _, Md5};
use rusqlite::Connection;

use super::{body::Body, incoming, response::ApiResponse};
use crate::{
    api_error::ApiError,
    json::Json,
    rendering::{DocOptions, meta_members, sends_data},
    storage::{
        attachment_data::Data,
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
        let entry = if sends_data(&row.tree, rev, attachment, options) {
            files.push((attachment.clone(), attachment.stored(conn)?));
            let mut members = attachment.describe(true);
            members.push(("length".to_owned(), attachment.length.into()));
            members.push(("follows".to_owned(), true.into()));
            Json::Obj(members)
        } else {
            attachment.stub(true)
        };
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
    Ok(Some(RelatedBody::new(document, files)))
}

pub(crate) fn boundary() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

impl RelatedBody {
    /// A document, whose attachments say that their data follows, and the data in their order.
    pub(crate) fn new(document: String, files: Vec<(Attachment, Vec<u8>)>) -> Self {
        Self { document, files }
    }

    /// The JSON of the document.
    pub(crate) fn document(&self) -> &str {
        &self.document
    }

    /// Appends the body.
    pub(crate) fn write(&self, boundary: &str, out: &mut Vec<u8>) {
        let json = format!(
            "--{boundary}\r\nContent-Type: application/json\r\n\r\n{}",
            self.document
        );
        out.extend_from_slice(json.as_bytes());
        for (attachment, data) in &self.files {
            let encoding = if attachment.packed_length.is_some() {
                "Content-Encoding: gzip\r\n"
            } else {
                ""
            };
            let head = format!(
                "\r\n--{boundary}\r\nContent-Disposition: attachment; filename=\"{}\"\r\nContent-Type: {}\r\n\
                 Content-Length: {}\r\n{encoding}\r\n",
                single_line(&attachment.name),
                single_line(&attachment.content_type),
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

/// The text without what would end the header that it is in.
pub(crate) fn single_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

pub(crate) fn multipart(kind: &str, boundary: &str, out: Vec<u8>) -> ApiResponse {
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

/// A part of a body with several revisions.
pub(crate) enum Part {
    Json(String),
    Related(RelatedBody),
    /// A revision that is not there.
    Error(String),
}

/// The response to `open_revs`.
pub(crate) fn revisions(parts: Vec<Part>) -> ApiResponse {
    let (outer, inner) = (boundary(), boundary());
    let out = revisions_body(parts, &outer, &inner);
    multipart("mixed", &outer, out)
}

/// The body of the response to `open_revs`.
pub(crate) fn revisions_body(parts: Vec<Part>, outer: &str, inner: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for part in parts {
        out.extend_from_slice(format!("--{outer}\r\n").as_bytes());
        match part {
            Part::Json(text) => out.extend_from_slice(
                format!("Content-Type: application/json\r\n\r\n{text}").as_bytes(),
            ),
            Part::Error(text) => out.extend_from_slice(&error_part(&text)),
            Part::Related(related) => {
                out.extend_from_slice(
                    format!("Content-Type: multipart/related; boundary=\"{inner}\"\r\n\r\n")
                        .as_bytes(),
                );
                related.write(inner, &mut out);
            }
        }
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(format!("--{outer}--").as_bytes());
    out
}

fn error_part(text: &str) -> Vec<u8> {
    format!("Content-Type: application/json; error=\"true\"\r\n\r\n{text}").into_bytes()
}

/// A revision that `_bulk_get` found or not.
pub(crate) struct BulkPart {
    pub(crate) id: String,
    pub(crate) rev: String,
    pub(crate) part: Part,
}

/// The response to `_bulk_get`, whose form differs from that of `open_revs` in detail.
pub(crate) fn bulk(kind: &str, parts: Vec<BulkPart>) -> ApiResponse {
    let outer = boundary();
    let mut out = Vec::new();
    for BulkPart { id, rev, part } in parts {
        out.extend_from_slice(format!("\r\n--{outer}\r\n").as_bytes());
        let about = format!(
            "X-Doc-Id: {}\r\nX-Rev-Id: {}\r\n",
            single_line(&id),
            single_line(&rev)
        );
        match part {
            Part::Json(text) => out.extend_from_slice(
                format!("{about}Content-Type: application/json\r\n\r\n{text}").as_bytes(),
            ),
            Part::Error(text) => out.extend_from_slice(&error_part(&text)),
            Part::Related(related) => {
                let inner = boundary();
                out.extend_from_slice(
                    format!("{about}Content-Type: multipart/related; boundary={inner}\r\n\r\n")
                        .as_bytes(),
                );
                related.write(&inner, &mut out);
            }
        }
    }
    out.extend_from_slice(format!("\r\n--{outer}--\r\n").as_bytes());
    multipart(kind, &outer, out)
}

/// Parses a `multipart/related` body. The parts follow in the order of the document; CouchDB does not look at their names.
pub(crate) fn parse_related(
    content_type: &str,
    body: &[u8],
) -> Result<incoming::IncomingDoc, ApiError> {
    let mut parts = parse(content_type, body)?.into_iter();
    let (_, json) = parts.next().ok_or_else(broken)?;
    let json = Json::parse(json).map_err(|_| ApiError::bad_json())?;
    if json.as_obj().is_none() {
        return Err(ApiError::bad_request("Document must be a JSON object"));
    }
    let mut doc = incoming::parse(json)?;
    for following in std::mem::take(&mut doc.following) {
        let (_, data) = parts.next().ok_or_else(broken)?;
        match data.len().cmp(&following.sent_length) {
            Ordering::Greater => {
                return Err(ApiError::bad_request("attachment longer than expected"));
            }
            Ordering::Less => {
                return Err(ApiError::bad_request("attachment shorter than expected"));
            }
            Ordering::Equal => {}
        }
        if following
            .digest
            .is_some_and(|digest| digest != <[u8; 16]>::from(Md5::digest(data)))
        {
            return Err(ApiError::new(
                StatusCode::BAD_REQUEST,
                "content_md5_mismatch",
                "Possible message corruption.",
            ));
        }
        if let Some(attachment) = doc.attachments.get_mut(following.place) {
            attachment.data = Some(if following.is_gzip {
                Data::gzipped(data.to_vec(), following.length)
            } else {
                Data::plain(&attachment.content_type, data.to_vec())?
            });
        }
    }
    Ok(doc)
}

fn broken() -> ApiError {
    ApiError::bad_request("the multipart body cannot be read")
}

/// The head and the content of each part of a multipart body.
pub(crate) fn parse<'a>(
    content_type: &str,
    body: &'a [u8],
) -> Result<Vec<(String, &'a [u8])>, ApiError> {
    let boundary = content_type
        .split(';')
        .find_map(|parameter| parameter.trim().strip_prefix("boundary="))
        .map(|boundary| boundary.trim_matches('"'))
        .filter(|boundary| !boundary.is_empty())
        .ok_or_else(|| ApiError::bad_request("the boundary of the multipart body is missing"))?;
    parts(body, format!("--{boundary}").as_bytes()).ok_or_else(broken)
}

/// Takes linear time, whatever boundary a client chooses.
fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    memchr::memmem::find(haystack, needle)
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

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use std::fmt::Write as _;

    use super::{parse, parse_related};

    #[test]
    fn many_attachments_take_linear_time() {
        let count = 50_000;
        let (mut stubs, mut data) = (String::new(), String::new());
        for n in 0..count {
            let comma = if n > 0 { "," } else { "" };
            let kind = r#""follows":true,"length":1"#;
            write!(stubs, r#"{comma}"{n}":{{{kind}}}"#).unwrap();
            data.push_str("\r\n--b\r\n\r\nx");
        }
        let body =
            format!(r#"--b{}{{"_attachments":{{{stubs}}}}}{data}"#, "\r\n\r\n") + "\r\n--b--";
        let doc = parse_related("multipart/related; boundary=b", body.as_bytes()).unwrap();
        assert_eq!(doc.attachments.len(), count);
        assert!(
            doc.attachments
                .iter()
                .all(|attachment| attachment.data.as_ref().unwrap().bytes == b"x")
        );
    }

    #[test]
    fn a_boundary_that_is_nearly_everywhere_takes_linear_time() {
        let nearly = "-".repeat(100_000);
        let body = format!("{nearly}x").repeat(200);
        let kind = format!("multipart/mixed; boundary={nearly}");
        assert!(parse(&kind, body.as_bytes()).is_err());
    }
}
