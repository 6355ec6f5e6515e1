//! Parsing and validation of documents that clients send.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::StatusCode;

use crate::{
    api_error::ApiError,
    json::Json,
    storage::{
        documents::{NewAttachment, NewDoc},
        revtree::Rev,
    },
};

/// CouchDB's `max_document_size`, in bytes.
const MAX_DOCUMENT: usize = 8_000_000;

/// A parsed document. The request decides whether it is an edit or a replicated revision.
#[derive(Clone, Debug, Default)]
pub(crate) struct IncomingDoc {
    pub(crate) id: Option<String>,
    pub(crate) rev: Option<Rev>,
    pub(crate) deleted: bool,
    pub(crate) body: Vec<(String, Json)>,
    pub(crate) attachments: Vec<NewAttachment>,
    /// `_revisions`, newest first.
    pub(crate) revisions: Option<Vec<Rev>>,
    /// The attachments whose data follows the JSON in a multipart body.
    pub(crate) following: Vec<FollowingAttachment>,
}

/// An attachment whose data follows in a multipart body.
#[derive(Clone, Debug)]
pub(crate) struct FollowingAttachment {
    pub(crate) name: String,
    /// The length of the sent data, in bytes.
    pub(crate) length: usize,
    /// Whether the data is compressed, as CouchDB's replicator does with text.
    pub(crate) encoded: bool,
}

/// Refuses the ids that CouchDB refuses.
pub(crate) fn check_id(id: &str) -> Result<(), ApiError> {
    if id.is_empty() {
        return Err(ApiError::illegal_docid("Document id must not be empty"));
    }
    if let Some(name) = id
        .strip_prefix("_design/")
        .or_else(|| id.strip_prefix("_local/"))
    {
        return if name.is_empty() {
            Err(ApiError::illegal_docid(format!(
                "Illegal document id `{id}`"
            )))
        } else {
            Ok(())
        };
    }
    if id.starts_with('_') {
        return Err(ApiError::illegal_docid(
            "Only reserved document ids may start with underscore.",
        ));
    }
    Ok(())
}

/// Parses a document.
pub(crate) fn parse(json: Json) -> Result<IncomingDoc, ApiError> {
    let Json::Obj(members) = json else {
        return Err(ApiError::bad_request("Document must be a JSON object"));
    };
    let mut doc = IncomingDoc::default();
    for (key, value) in members {
        if !key.starts_with('_') {
            doc.body.push((key, value));
            continue;
        }
        match key.as_str() {
            "_id" => {
                let Json::Str(id) = value else {
                    return Err(ApiError::illegal_docid("Document id must be a string"));
                };
                check_id(&id)?;
                doc.id = Some(id);
            }
            "_rev" => match value {
                Json::Str(rev) => doc.rev = Some(Rev::parse(&rev)?),
                Json::Null => {}
                _ => return Err(ApiError::bad_request("Invalid rev format")),
            },
            "_deleted" => match value {
                Json::Bool(deleted) => doc.deleted = deleted,
                _ => {
                    return Err(ApiError::doc_validation(
                        "Bad special document member: _deleted",
                    ));
                }
            },
            "_attachments" => attachments(value, &mut doc)?,
            "_revisions" => doc.revisions = Some(revisions(&value)?),
            "_revs_info" | "_local_seq" | "_conflicts" | "_deleted_conflicts" => {}
            _ => {
                return Err(ApiError::doc_validation(format!(
                    "Bad special document member: {key}"
                )));
            }
        }
    }
    Ok(doc)
}

fn revisions(value: &Json) -> Result<Vec<Rev>, ApiError> {
    let start = value.get("start").and_then(Json::as_i64);
    let start = start
        .and_then(|start| u64::try_from(start).ok())
        .ok_or_else(|| ApiError::doc_validation("_revisions.start isn't an integer."))?;
    let ids = value
        .get("ids")
        .and_then(Json::as_arr)
        .ok_or_else(|| ApiError::doc_validation("_revisions.ids isn't a array."))?;
    ids.iter()
        .enumerate()
        .map(|(age, id)| {
            let id = id
                .as_str()
                .ok_or_else(|| ApiError::doc_validation("RevId isn't a string"))?;
            let pos = start.checked_sub(age as u64).filter(|pos| *pos > 0);
            let pos = pos.ok_or_else(|| {
                ApiError::doc_validation("_revisions.ids is longer than _revisions.start")
            })?;
            Rev::new(pos, id).ok_or_else(|| ApiError::bad_request("Invalid rev format"))
        })
        .collect()
}

fn attachments(value: Json, doc: &mut IncomingDoc) -> Result<(), ApiError> {
    let Json::Obj(list) = value else {
        return Err(ApiError::doc_validation(
            "Bad special document member: _attachments",
        ));
    };
    for (name, attachment) in list {
        if name.starts_with('_') {
            return Err(ApiError::bad_request(
                "Attachment name starts with prohibited character '_'",
            ));
        }
        let on = |key| attachment.get(key).and_then(Json::as_bool) == Some(true);
        let kind = attachment
            .get("content_type")
            .and_then(Json::as_str)
            .unwrap_or("application/octet-stream");
        let revpos = attachment
            .get("revpos")
            .and_then(Json::as_i64)
            .map(i64::unsigned_abs);
        let encoded = match attachment.get("encoding").and_then(Json::as_str) {
            None | Some("identity") => false,
            Some("gzip") => true,
            Some(other) => {
                let reason = format!("{other} is not a supported content encoding.");
                return Err(ApiError::bad_content_type(reason));
            }
        };
        let data = if on("stub") {
            None
        } else if on("follows") {
            let announced = if encoded { "encoded_length" } else { "length" };
            let length = attachment.get(announced);
            let length = length
                .and_then(Json::as_i64)
                .and_then(|n| usize::try_from(n).ok());
            let length = length.ok_or_else(|| {
                ApiError::bad_request("Missing length of an attachment that follows")
            })?;
            doc.following.push(FollowingAttachment {
                name: name.clone(),
                length,
                encoded,
            });
            Some(Vec::new())
        } else {
            let data = attachment.get("data").and_then(Json::as_str);
            let data = data.ok_or_else(|| {
                ApiError::bad_request(format!("Invalid attachment data for {name}"))
            })?;
            let data = STANDARD.decode(data);
            let data = data.map_err(|_| {
                ApiError::bad_request(format!("Invalid attachment data for {name}"))
            })?;
            Some(if encoded { unpack(&data)? } else { data })
        };
        doc.attachments.push(NewAttachment {
            name,
            content_type: kind.to_owned(),
            revpos,
            data,
        });
    }
    Ok(())
}

impl IncomingDoc {
    /// Refuses a document that is too large.
    fn check_size(&self) -> Result<(), ApiError> {
        // An estimate avoids serializing the many small documents.
        let size: usize = self
            .body
            .iter()
            .map(|(key, value)| key.len() + 4 + size(value))
            .sum();
        if size + 2 > MAX_DOCUMENT {
            return Err(ApiError::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "document_too_large",
                self.id.clone().unwrap_or_default(),
            ));
        }
        Ok(())
    }

    /// The document as an edit of `id`.
    pub(crate) fn into_edit(self, id: String) -> Result<NewDoc, ApiError> {
        self.check_size()?;
        check_design(&id, &self)?;
        Ok(NewDoc {
            id,
            deleted: self.deleted,
            body: self.body,
            attachments: self.attachments,
            history: self.rev.into_iter().collect(),
        })
    }

    /// The document as a replicated revision of `id`.
    pub(crate) fn into_replicated(self, id: String) -> Result<NewDoc, ApiError> {
        self.check_size()?;
        let history = match (self.revisions, self.rev) {
            (Some(revisions), _) if !revisions.is_empty() => revisions,
            (_, Some(rev)) => vec![rev],
            _ => Vec::new(),
        };
        Ok(NewDoc {
            id,
            deleted: self.deleted,
            body: self.body,
            attachments: self.attachments,
            history,
        })
    }
}

fn size(value: &Json) -> usize {
    match value {
        Json::Null | Json::Bool(true) => 4,
        Json::Bool(false) => 5,
        Json::Int(n) => {
            n.unsigned_abs().checked_ilog10().unwrap_or(0) as usize + 1 + usize::from(*n < 0)
        }
        Json::Big(digits) => digits.len(),
        Json::Float(_) => value.to_string().len(),
        Json::Str(s) => s.len() + 2,
        Json::Arr(items) => 2 + items.iter().map(|item| size(item) + 1).sum::<usize>(),
        Json::Obj(members) => {
            2 + members
                .iter()
                .map(|(key, value)| key.len() + 4 + size(value))
                .sum::<usize>()
        }
    }
}

/// Refuses design documents with malformed views, as CouchDB does.
fn check_design(id: &str, doc: &IncomingDoc) -> Result<(), ApiError> {
    if !id.starts_with("_design/") || doc.deleted {
        return Ok(());
    }
    let invalid = |reason: &str| {
        Err(ApiError::new(
            StatusCode::BAD_REQUEST,
            "invalid_design_doc",
            reason.to_owned(),
        ))
    };
    let member = |key: &str| {
        doc.body
            .iter()
            .find(|(k, _)| k == key)
            .map(|(_, value)| value)
    };
    for (key, shape) in [
        ("views", "object"),
        ("options", "object"),
        ("filters", "object"),
        ("updates", "object"),
    ] {
        if member(key).is_some_and(|value| value.as_obj().is_none()) {
            return invalid(&format!("`{key}` field must have {shape} type"));
        }
    }
    for key in ["language", "validate_doc_update"] {
        if member(key).is_some_and(|value| value.as_str().is_none()) {
            return invalid(&format!("`{key}` field must have string type"));
        }
    }
    Ok(())
}

/// The largest decompressed attachment, in bytes.
const MAX_UNPACKED: u64 = 256 * 1024 * 1024;

/// Decompresses the data of an attachment. This server stores all attachments uncompressed.
pub(crate) fn unpack(data: &[u8]) -> Result<Vec<u8>, ApiError> {
    use std::io::Read as _;
    let mut out = Vec::new();
    let read = flate2::read::GzDecoder::new(data)
        .take(MAX_UNPACKED + 1)
        .read_to_end(&mut out);
    match read {
        Ok(_) if out.len() as u64 <= MAX_UNPACKED => Ok(out),
        Ok(_) => Err(ApiError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too_large",
            "the request entity is too large",
        )),
        Err(_) => Err(ApiError::bad_request(
            "an attachment said to be compressed is not",
        )),
    }
}
