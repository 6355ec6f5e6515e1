//! Attachments. Their data is reference-counted by the stored revisions.

use std::collections::HashSet;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use md5::{Digest as _, Md5};
use rusqlite::Connection;

use super::revtree::Rev;
use crate::{
    api_error::ApiError,
    json::{Json, obj},
};

/// An attachment to store.
#[derive(Clone, Debug)]
pub(crate) struct NewAttachment {
    pub(crate) name: String,
    pub(crate) content_type: String,
    pub(crate) revpos: Option<u64>,
    /// `None` for a stub, which keeps the attachment of the parent revision.
    pub(crate) data: Option<Vec<u8>>,
}

/// A stored attachment.
#[derive(Clone, Debug)]
pub(crate) struct Attachment {
    pub(crate) name: String,
    pub(crate) content_type: String,
    pub(crate) revpos: u64,
    pub(crate) length: i64,
    /// The MD5 of the data.
    pub(crate) digest: Vec<u8>,
    row: i64,
}

impl Attachment {
    /// The stub of the attachment, without its data.
    pub(crate) fn stub(&self) -> Json {
        obj([
            ("content_type", self.content_type.as_str().into()),
            ("revpos", self.revpos.into()),
            ("digest", self.digest_text().into()),
            ("length", self.length.into()),
            ("stub", true.into()),
        ])
    }

    /// The digest in CouchDB's format.
    pub(crate) fn digest_text(&self) -> String {
        format!("md5-{}", STANDARD.encode(&self.digest))
    }

    /// Reads the data.
    pub(crate) fn data(&self, conn: &Connection) -> Result<Vec<u8>, ApiError> {
        Ok(conn
            .prepare_cached("SELECT data FROM attachments WHERE id = ?1")?
            .query_row([self.row], |row| row.get(0))?)
    }
}

/// Parses the stored list of attachments.
pub(crate) fn parse(text: &str) -> Result<Vec<Attachment>, ApiError> {
    let damaged = || ApiError::internal("a stored list of attachments cannot be read");
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
                ],
            ) => Ok(Attachment {
                name: name.clone(),
                content_type: kind.clone(),
                revpos: revpos.unsigned_abs(),
                length: *length,
                digest: hex::decode(digest).map_err(|_| damaged())?,
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
            .map(|attachment| (attachment.name.clone(), attachment.stub()))
            .collect(),
    )
}

/// The name, content type and MD5 of each attachment, for the computation of the revision id.
pub(crate) fn digests<'a>(
    new: &'a [NewAttachment],
    kept: &'a [Attachment],
) -> Vec<(&'a str, &'a str, Vec<u8>)> {
    new.iter()
        .filter_map(|attachment| match &attachment.data {
            Some(data) => Some((
                attachment.name.as_str(),
                attachment.content_type.as_str(),
                Md5::digest(data).to_vec(),
            )),
            None => kept
                .iter()
                .find(|old| old.name == attachment.name)
                .map(|old| {
                    (
                        old.name.as_str(),
                        old.content_type.as_str(),
                        old.digest.clone(),
                    )
                }),
        })
        .collect()
}

/// Stores new data, adds references to kept data, and returns the list of attachments to store.
pub(crate) fn store(
    conn: &Connection,
    new: &[NewAttachment],
    kept: &[Attachment],
    rev: &Rev,
) -> Result<Option<String>, ApiError> {
    let mut list = Vec::new();
    let mut named = HashSet::new();
    for attachment in new
        .iter()
        .filter(|attachment| named.insert(attachment.name.as_str()))
    {
        let (kind, revpos, length, digest, row) = match &attachment.data {
            Some(data) => {
                conn.prepare_cached("INSERT INTO attachments (refs, data) VALUES (1, ?1)")?
                    .execute([data])?;
                (
                    attachment.content_type.clone(),
                    attachment.revpos.unwrap_or(rev.pos),
                    i64::try_from(data.len()).unwrap_or(i64::MAX),
                    Md5::digest(data).to_vec(),
                    conn.last_insert_rowid(),
                )
            }
            None => {
                let Some(old) = kept.iter().find(|old| old.name == attachment.name) else {
                    continue;
                };
                conn.prepare_cached("UPDATE attachments SET refs = refs + 1 WHERE id = ?1")?
                    .execute([old.row])?;
                (
                    old.content_type.clone(),
                    old.revpos,
                    old.length,
                    old.digest.clone(),
                    old.row,
                )
            }
        };
        list.push(Json::Arr(vec![
            attachment.name.as_str().into(),
            kind.into(),
            revpos.into(),
            length.into(),
            hex::encode(digest).into(),
            row.into(),
        ]));
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
