//! Parsing and validation of documents that clients send.

use base64::{
    Engine as _,
    alphabet::STANDARD,
    engine::{GeneralPurpose, GeneralPurposeConfig},
};
use http::StatusCode;

use crate::{
    api_error::ApiError,
    json::Json,
    storage::{
        attachment_data::Data,
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
    /// Where it is in the list of attachments.
    pub(crate) place: usize,
    /// The length of what is sent, in bytes.
    pub(crate) sent_length: usize,
    /// The length of the uncompressed data, in bytes, if the client says it.
    pub(crate) length: Option<i64>,
    /// Whether the data is compressed, as CouchDB's replicator does with text.
    pub(crate) is_gzip: bool,
    /// The MD5 of what is sent, if the client says it.
    pub(crate) digest: Option<[u8; 16]>,
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
            // CouchDB's replicator writes these into its documents, and they are replicated like others.
            "_replication_id"
            | "_replication_state"
            | "_replication_state_time"
            | "_replication_state_reason"
            | "_replication_stats"
            | "_access" => doc.body.push((key, value)),
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
    if value.as_obj().is_none() {
        return Err(ApiError::doc_validation(
            "Bad special document member: _revisions",
        ));
    }
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
            let pos = start.checked_sub(age as u64);
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
        check_attachment_name(&name)?;
        // CouchDB drops what is no object.
        if attachment.as_obj().is_some() {
            one_attachment(name, &attachment, doc)?;
        }
    }
    Ok(())
}

/// Refuses the names of attachments that CouchDB refuses.
pub(crate) fn check_attachment_name(name: &str) -> Result<(), ApiError> {
    if name.starts_with('_') {
        return Err(ApiError::bad_request(format!(
            "Attachment name '{name}' starts with prohibited character '_'"
        )));
    }
    Ok(())
}

fn one_attachment(name: String, sent: &Json, doc: &mut IncomingDoc) -> Result<(), ApiError> {
    let is = |key| sent.get(key).and_then(Json::as_bool) == Some(true);
    let content_type = match sent.get("content_type") {
        None => "application/octet-stream",
        Some(Json::Str(kind)) => kind,
        Some(_) => {
            return Err(ApiError::bad_request(format!(
                "content_type of attachment {name} must be a string"
            )));
        }
    };
    let mut new = NewAttachment {
        content_type: content_type.to_owned(),
        revpos: sent.get("revpos").map(revpos),
        data: None,
        name,
    };
    if is("follows") {
        doc.following
            .push(following(doc.attachments.len(), &new.name, sent)?);
    } else if !is("stub") {
        new.data = Some(inline(&new.name, content_type, sent)?);
    }
    doc.attachments.push(new);
    Ok(())
}

/// A generation. What is none equals no stored one.
fn revpos(sent: &Json) -> u64 {
    let number = match sent {
        Json::Int(number) => u64::try_from(*number).ok(),
        // As in Erlang, 2.0 is equal to 2. No generation is near the limit of exact floats.
        Json::Float(number) if number.fract() == 0.0 => number.to_string().parse().ok(),
        _ => None,
    };
    number.unwrap_or(u64::MAX)
}

fn following(place: usize, name: &str, sent: &Json) -> Result<FollowingAttachment, ApiError> {
    let is_gzip = match sent.get("encoding").and_then(Json::as_str) {
        None | Some("identity") => false,
        Some("gzip") => true,
        Some(other) => {
            let reason = format!("{other} is not a supported content encoding.");
            return Err(ApiError::bad_content_type(reason));
        }
    };
    let number = |key| sent.get(key).and_then(Json::as_i64);
    let announced = number(if is_gzip { "encoded_length" } else { "length" });
    let announced = announced.and_then(|length| usize::try_from(length).ok());
    let sent_length = announced.ok_or_else(|| {
        ApiError::bad_request(format!("the length of attachment {name} is missing"))
    })?;
    Ok(FollowingAttachment {
        place,
        sent_length,
        length: number("length"),
        is_gzip,
        digest: sent
            .get("digest")
            .and_then(Json::as_str)
            .and_then(|digest| {
                base64::engine::general_purpose::STANDARD
                    .decode(digest.strip_prefix("md5-")?)
                    .ok()
            })
            .and_then(|digest| digest.try_into().ok()),
    })
}

fn inline(name: &str, content_type: &str, sent: &Json) -> Result<Data, ApiError> {
    /// As Erlang decodes: the bits that are left over at the end are not looked at.
    const BASE64: GeneralPurpose = GeneralPurpose::new(
        &STANDARD,
        GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
    );
    let invalid = || ApiError::bad_request(format!("Invalid attachment data for {name}"));
    let text = sent
        .get("data")
        .and_then(Json::as_str)
        .ok_or_else(invalid)?;
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
    let bytes = if text.as_bytes().iter().any(&is_space) {
        let letters: Vec<u8> = text.bytes().filter(|byte| !is_space(byte)).collect();
        BASE64.decode(letters)
    } else {
        BASE64.decode(text)
    };
    Data::plain(content_type, bytes.map_err(|_| invalid())?)
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
        Ok(NewDoc {
            id,
            deleted: self.deleted,
            body: self.body,
            attachments: self.attachments,
            history: self
                .rev
                .or_else(|| self.revisions?.into_iter().next())
                .into_iter()
                .collect(),
        })
    }

    /// The document as a replicated revision of `id`.
    pub(crate) fn into_replicated(self, id: String) -> Result<NewDoc, ApiError> {
        self.check_size()?;
        let history = match (self.revisions, self.rev) {
            (Some(revisions), _) if !revisions.is_empty() => revisions,
            (None, Some(rev)) => vec![rev],
            _ => {
                return Err(ApiError::bad_request(
                    "When `new_edits: false`, the document needs `_rev` or `_revisions` specified",
                ));
            }
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
