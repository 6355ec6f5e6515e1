//! Attachments. Their data is reference-counted by the stored revisions.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rusqlite::Connection;

use super::{
    attachment_data::{Data, unpack},
    revtree::Rev,
};
use crate::{api_error::ApiError, json::Json};

/// An attachment to store.
#[derive(Clone, Debug)]
pub(crate) struct NewAttachment {
    pub(crate) name: String,
    pub(crate) content_type: String,
    /// The generation of the revision that brought the data. An edit believes it of stubs only.
    pub(crate) revpos: Option<u64>,
    /// `None` for a stub, which keeps the attachment of the parent revision.
    pub(crate) data: Option<Data>,
}

/// A stored attachment.
#[derive(Clone, Debug)]
pub(crate) struct Attachment {
    pub(crate) name: String,
    pub(crate) content_type: String,
    pub(crate) revpos: u64,
    /// The length of the uncompressed data.
    pub(crate) length: i64,
    /// The MD5 of what is stored.
    pub(crate) digest: Vec<u8>,
    /// The length of what is stored, if that is compressed.
    pub(crate) packed_length: Option<i64>,
    row: i64,
}

impl Attachment {
    /// The description of the attachment, without its data. `encoding` adds whether and how it is compressed.
    pub(crate) fn describe(&self, encoding: bool) -> Vec<(String, Json)> {
        let mut members = vec![
            ("content_type".to_owned(), self.content_type.as_str().into()),
            ("revpos".to_owned(), self.revpos.into()),
            ("digest".to_owned(), self.digest_text().into()),
        ];
        if let Some(packed_length) = self.packed_length
            && encoding
        {
            members.push(("encoding".to_owned(), "gzip".into()));
            members.push(("encoded_length".to_owned(), packed_length.into()));
        }
        members
    }

    /// The stub of the attachment.
    pub(crate) fn stub(&self, encoding: bool) -> Json {
        let mut members = self.describe(encoding);
        let place = members
            .iter()
            .position(|(name, _)| name == "encoding")
            .unwrap_or(members.len());
        members.insert(place, ("stub".to_owned(), true.into()));
        members.insert(place, ("length".to_owned(), self.length.into()));
        Json::Obj(members)
    }

    /// The digest in CouchDB's format.
    pub(crate) fn digest_text(&self) -> String {
        format!("md5-{}", STANDARD.encode(&self.digest))
    }

    /// Reads the data as it is stored.
    pub(crate) fn stored(&self, conn: &Connection) -> Result<Vec<u8>, ApiError> {
        Ok(conn
            .prepare_cached("SELECT data FROM attachments WHERE id = ?1")?
            .query_row([self.row], |row| row.get(0))?)
    }

    /// Reads the data, uncompressed.
    pub(crate) fn plain(&self, conn: &Connection) -> Result<Vec<u8>, ApiError> {
        let stored = self.stored(conn)?;
        if self.packed_length.is_some() {
            unpack(&stored, "an attachment said to be compressed is not")
        } else {
            Ok(stored)
        }
    }

    /// The attachment as one to store, with its data as it is stored.
    pub(crate) fn copied(&self, conn: &Connection) -> Result<NewAttachment, ApiError> {
        Ok(NewAttachment {
            name: self.name.clone(),
            content_type: self.content_type.clone(),
            revpos: None,
            data: Some(Data {
                bytes: self.stored(conn)?,
                is_gzip: self.packed_length.is_some(),
                length: self.length,
                digest: self.digest.as_slice().try_into().map_err(|_| damaged())?,
            }),
        })
    }

    /// The attachment as a stub that keeps it.
    pub(crate) fn kept(&self) -> NewAttachment {
        NewAttachment {
            name: self.name.clone(),
            content_type: self.content_type.clone(),
            revpos: None,
            data: None,
        }
    }
}

fn damaged() -> ApiError {
    ApiError::internal("a stored list of attachments cannot be read")
}

/// Parses the stored list of attachments.
pub(crate) fn parse(text: &str) -> Result<Vec<Attachment>, ApiError> {
    let list = Json::parse(text.as_bytes()).map_err(|_| damaged())?;
    list.as_arr()
        .unwrap_or_default()
        .iter()
        .map(|entry| match entry.as_arr() {
            Some(
                [
                    Json::Str(name),
                    Json::Str(kind),
                    Json::Int(revpos),
                    Json::Int(length),
                    Json::Str(digest),
                    Json::Int(row),
                    packed @ ..,
                ],
            ) => Ok(Attachment {
                name: name.clone(),
                content_type: kind.clone(),
                revpos: revpos.unsigned_abs(),
                length: *length,
                digest: hex::decode(digest).map_err(|_| damaged())?,
                packed_length: packed.first().and_then(Json::as_i64),
                row: *row,
            }),
            _ => Err(damaged()),
        })
        .collect()
}

/// The stubs of attachments, by name.
pub(crate) fn stubs(attachments: &[Attachment]) -> Json {
    Json::Obj(
        attachments
            .iter()
            .map(|attachment| (attachment.name.clone(), attachment.stub(false)))
            .collect(),
    )
}

/// The attachments of a revision, each by its name. There can be very many.
fn by_name(kept: &[Attachment]) -> HashMap<&str, &Attachment> {
    kept.iter()
        .map(|attachment| (attachment.name.as_str(), attachment))
        .collect()
}

/// The name, content type and MD5 of each attachment, for the computation of the revision id.
pub(crate) fn digests<'a>(
    new: &'a [NewAttachment],
    kept: &'a [Attachment],
) -> Vec<(&'a str, &'a str, Cow<'a, [u8]>)> {
    let kept = by_name(kept);
    new.iter()
        .filter_map(|attachment| match &attachment.data {
            Some(data) => Some((
                attachment.name.as_str(),
                attachment.content_type.as_str(),
                Cow::Borrowed(data.digest.as_slice()),
            )),
            None => kept.get(attachment.name.as_str()).map(|old| {
                (
                    old.name.as_str(),
                    old.content_type.as_str(),
                    Cow::Borrowed(old.digest.as_slice()),
                )
            }),
        })
        .collect()
}

/// The first stub that stands for nothing: for an unknown attachment, or for one of another generation.
pub(crate) fn missing_stub<'a>(
    new: &'a [NewAttachment],
    kept: &[Attachment],
) -> Option<&'a NewAttachment> {
    let kept = by_name(kept);
    new.iter().find(|attachment| {
        attachment.data.is_none()
            && kept
                .get(attachment.name.as_str())
                .is_none_or(|old| attachment.revpos.is_some_and(|revpos| revpos != old.revpos))
    })
}

/// Which generation new data belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Generation {
    /// That of the new revision, whatever the client says.
    OfRevision,
    /// The first, as of a new document: CouchDB sees no more of a document that was deleted.
    First,
    /// What the replicator says.
    AsSent,
}

/// Stores new data, adds references to kept data, and returns the list of attachments to store.
pub(crate) fn store(
    conn: &Connection,
    new: &[NewAttachment],
    kept: &[Attachment],
    rev: &Rev,
    generation: Generation,
) -> Result<Option<String>, ApiError> {
    let kept = by_name(kept);
    let mut list = Vec::new();
    let mut named = HashSet::new();
    for attachment in new
        .iter()
        .filter(|attachment| named.insert(attachment.name.as_str()))
    {
        let stored = match &attachment.data {
            Some(data) => {
                conn.prepare_cached("INSERT INTO attachments (refs, data) VALUES (1, ?1)")?
                    .execute([&data.bytes])?;
                let packed = i64::try_from(data.bytes.len()).unwrap_or(i64::MAX);
                Attachment {
                    name: attachment.name.clone(),
                    content_type: attachment.content_type.clone(),
                    revpos: match generation {
                        Generation::OfRevision => rev.pos,
                        Generation::First => 1,
                        Generation::AsSent => attachment.revpos.unwrap_or(0),
                    },
                    length: data.length,
                    digest: data.digest.to_vec(),
                    packed_length: data.is_gzip.then_some(packed),
                    row: conn.last_insert_rowid(),
                }
            }
            None => {
                let Some(&old) = kept.get(attachment.name.as_str()) else {
                    continue;
                };
                conn.prepare_cached("UPDATE attachments SET refs = refs + 1 WHERE id = ?1")?
                    .execute([old.row])?;
                old.clone()
            }
        };
        let mut entry = vec![
            stored.name.into(),
            stored.content_type.into(),
            stored.revpos.into(),
            stored.length.into(),
            hex::encode(stored.digest).into(),
            stored.row.into(),
        ];
        entry.extend(stored.packed_length.map(Json::Int));
        list.push(Json::Arr(entry));
    }
    Ok((!list.is_empty()).then(|| Json::Arr(list).to_string()))
}

/// Removes the references of a removed revision, and data without references.
pub(crate) fn release(conn: &Connection, list: &[Attachment]) -> Result<(), ApiError> {
    for attachment in list {
        conn.prepare_cached("UPDATE attachments SET refs = refs - 1 WHERE id = ?1")?
            .execute([attachment.row])?;
        conn.prepare_cached("DELETE FROM attachments WHERE id = ?1 AND refs <= 0")?
            .execute([attachment.row])?;
    }
    Ok(())
}
