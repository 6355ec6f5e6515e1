//! Documents, revisions and outcomes of writes.

use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::{Call, Error, Result};

/// The id of a revision, for example `3-917fa23…`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Rev(String);

impl Rev {
    /// A revision id as CouchDB writes it. Not validated: CouchDB refuses malformed ids.
    #[must_use]
    pub fn new(rev: impl Into<String>) -> Self {
        Self(rev.into())
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The number before the dash, which counts the edits. 0 if there is none.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.0
            .split_once('-')
            .and_then(|(generation, _)| generation.parse().ok())
            .unwrap_or(0)
    }
}

impl fmt::Display for Rev {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A document that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document<T> {
    /// Its `_id`.
    pub id: String,
    /// Its `_rev`.
    pub rev: Rev,
    /// All other members, without those that CouchDB adds (`_conflicts` and the like).
    pub body: T,
}

impl<T> Document<T> {
    /// This document with its body converted by `change`.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Document<U> {
        Document {
            id: self.id,
            rev: self.rev,
            body: change(self.body),
        }
    }
}

/// The outcome of a write.
///
/// Only [`Write::Committed`] is a success. [`Write::Contested`] is a lost race whose leaf may still become
/// the winner later: a caller that takes it for a success gives the document two owners.
#[must_use = "only `Committed` is a success"]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// A majority of the nodes holds the new revision (200 or 201).
    Committed(Rev),
    /// Fewer nodes than a majority hold the new revision (202), which may win or lose later. A caller that
    /// gives up has to [`withdraw`](crate::Database::withdraw) it.
    Contested(Rev),
    /// The document is not at the revision that the write names (409).
    Conflict,
}

impl Write {
    /// The new revision, if a majority holds it.
    #[must_use]
    pub fn committed(self) -> Option<Rev> {
        match self {
            Self::Committed(rev) => Some(rev),
            Self::Contested(_) | Self::Conflict => None,
        }
    }
}

/// A leaf of a document's revision tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// The revision of the leaf.
    pub rev: Rev,
    /// The parent revision, if the server still knows it.
    pub parent: Option<Rev>,
    /// The revisions from this one back to the oldest that the server knows.
    pub history: Vec<Rev>,
    /// Whether it is a tombstone.
    pub deleted: bool,
    /// The members, without those that begin with `_`.
    pub body: Value,
}

impl Leaf {
    /// Whether this leaf is the tombstone of a write that lost a race and was withdrawn by its writer.
    #[must_use]
    pub fn is_withdrawn(&self) -> bool {
        self.deleted
            && self
                .body
                .get(WITHDRAWN)
                .is_some_and(|it| *it == Value::Bool(true))
    }

    /// Whether this leaf is the tombstone of a document that was removed for good
    /// ([`Database::remove_for_good`](crate::Database::remove_for_good)).
    #[must_use]
    pub fn is_removal(&self) -> bool {
        self.deleted
            && self
                .body
                .get(REMOVED)
                .is_some_and(|it| *it == Value::Bool(true))
    }
}

impl Leaf {
    /// Whether this leaf is the mark beside the tree of a document that was removed for good.
    pub(crate) fn is_mark(&self) -> bool {
        self.rev.as_str() == MARK && self.is_removal()
    }
}

/// The revision of the mark beside the tree of a document that was removed for good: of the first generation, with the
/// lowest hash, so that every other tombstone wins over it.
pub(crate) const MARK: &str = "1-00000000000000000000000000000000";
/// The revision of the tombstone that wins over [`MARK`] where a document has no other: with the highest hash.
pub(crate) const ABOVE_MARK: &str = "1-ffffffffffffffffffffffffffffffff";

/// The member that marks the tombstone of a lost race.
pub(crate) const WITHDRAWN: &str = "withdrawn";
/// The member that marks the tombstone of a document whose id is never used again.
pub(crate) const REMOVED: &str = "removed_for_good";

/// The members that CouchDB adds to a document.
const COUCHDB_MEMBERS: [&str; 9] = [
    "_id",
    "_rev",
    "_deleted",
    "_conflicts",
    "_deleted_conflicts",
    "_revisions",
    "_revs_info",
    "_local_seq",
    "_purges",
];

/// Deserializes a document.
pub(crate) fn decode<T: DeserializeOwned>(call: &Call, document: Value) -> Result<Document<T>> {
    let (id, rev, body) = split(call, document)?;
    let body = serde_json::from_value(body).map_err(|source| Error::Corrupt {
        call: call.clone(),
        detail: "a document lacks fields of its type, or has them in another form".to_owned(),
        source: Some(source),
    })?;
    Ok(Document { id, rev, body })
}

pub(crate) fn split(call: &Call, document: Value) -> Result<(String, Rev, Value)> {
    let corrupt = |detail: &str| Error::Corrupt {
        call: call.clone(),
        detail: detail.to_owned(),
        source: None,
    };
    let Value::Object(mut members) = document else {
        return Err(corrupt("a document should be a JSON object"));
    };
    // `shift_remove` keeps the order of the other members, so that a document is written back unchanged.
    let (Some(Value::String(id)), Some(Value::String(rev))) =
        (members.shift_remove("_id"), members.shift_remove("_rev"))
    else {
        return Err(corrupt("a document should have an _id and a _rev"));
    };
    members.retain(|name, _| !COUCHDB_MEMBERS.contains(&name.as_str()));
    Ok((id, Rev(rev), Value::Object(members)))
}

/// The members of `body`, without those that CouchDB adds.
pub(crate) fn encode<T: Serialize + ?Sized>(call: &Call, body: &T) -> Result<Map<String, Value>> {
    let encoded = serde_json::to_value(body).map_err(|source| Error::Encode {
        call: call.clone(),
        source: Some(source),
    })?;
    let Value::Object(mut members) = encoded else {
        return Err(Error::Encode {
            call: call.clone(),
            source: None,
        });
    };
    members.retain(|name, _| !COUCHDB_MEMBERS.contains(&name.as_str()));
    Ok(members)
}

#[derive(Deserialize)]
struct Revisions {
    start: u64,
    ids: Vec<String>,
}

/// Reads the response to `open_revs=all&revs=true`.
pub(crate) fn decode_leaves(call: &Call, response: Value) -> Result<Vec<Leaf>> {
    let corrupt = |detail: &str| Error::Corrupt {
        call: call.clone(),
        detail: detail.to_owned(),
        source: None,
    };
    let Value::Array(rows) = response else {
        return Err(corrupt("open_revs should be a list"));
    };
    let mut leaves = Vec::with_capacity(rows.len());
    for row in rows {
        let Value::Object(mut row) = row else {
            return Err(corrupt("open_revs should be a list of objects"));
        };
        let Some(document) = row.remove("ok") else {
            // `{"missing": rev}` stands for a revision whose body is not stored.
            continue;
        };
        let deleted = document
            .get("_deleted")
            .is_some_and(|it| *it == Value::Bool(true));
        let revisions: Option<Revisions> = document
            .get("_revisions")
            .and_then(|it| Deserialize::deserialize(it).ok());
        let (_, rev, body) = split(call, document)?;
        let history: Vec<Rev> = revisions.map_or_else(
            || vec![rev.clone()],
            |known| {
                (0..=known.start)
                    .rev()
                    .zip(known.ids)
                    .map(|(generation, hash)| Rev(format!("{generation}-{hash}")))
                    .collect()
            },
        );
        leaves.push(Leaf {
            parent: history.get(1).cloned(),
            rev,
            history,
            deleted,
            body,
        });
    }
    Ok(leaves)
}
