//! Documents, their revisions, and what became of a write.

use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::{Call, Error, Result};

/// A revision, for example `3-917fa23…`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Rev(String);

impl Rev {
    /// A revision as CouchDB wrote it. Not checked: CouchDB refuses what is none.
    #[must_use]
    pub fn new(rev: impl Into<String>) -> Self {
        Self(rev.into())
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The number before the dash: how many edits led here. 0 when there is none.
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

/// A document as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document<T> {
    /// Its `_id`.
    pub id: String,
    /// Its `_rev`.
    pub rev: Rev,
    /// The rest: all members but `_id`, `_rev` and what CouchDB tells about revisions.
    pub body: T,
}

impl<T> Document<T> {
    /// The same document with its body made something else.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Document<U> {
        Document {
            id: self.id,
            rev: self.rev,
            body: change(self.body),
        }
    }
}

/// What became of a write that was answered.
///
/// Taking [`Write::Contested`] for success gives a document two owners: it is a lost race whose
/// leaf may still win later. Only [`Write::Committed`] is success.
#[must_use = "a 2xx is not yet a success: only `Committed` is"]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// A majority of the nodes holds it (201 and 200).
    Committed(Rev),
    /// Fewer than a majority took it (202). This revision lies on some node and may win or lose;
    /// whoever does not go on with it has to [`withdraw`](crate::Database::withdraw) it.
    Contested(Rev),
    /// The document is not at the revision that the write was meant for (409).
    Conflict,
}

impl Write {
    /// The revision, if a majority holds it.
    #[must_use]
    pub fn committed(self) -> Option<Rev> {
        match self {
            Self::Committed(rev) => Some(rev),
            Self::Contested(_) | Self::Conflict => None,
        }
    }
}

/// One end of a document's revision tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// Its revision.
    pub rev: Rev,
    /// The revision before it, if the server still knows it.
    pub parent: Option<Rev>,
    /// All revisions from this one back to the oldest that the server knows.
    pub history: Vec<Rev>,
    /// Whether it is a tombstone.
    pub deleted: bool,
    /// Its members, without those that begin with `_`.
    pub body: Value,
}

impl Leaf {
    /// Whether this leaf is a tombstone that a writer which had lost a race put over its own write.
    #[must_use]
    pub fn is_withdrawn(&self) -> bool {
        self.deleted
            && self
                .body
                .get(WITHDRAWN)
                .is_some_and(|it| *it == Value::Bool(true))
    }
}

/// Marks the tombstone of a lost race, to tell it from a deletion that was meant.
pub(crate) const WITHDRAWN: &str = "withdrawn";

/// Members that CouchDB adds to what a writer wrote.
const OF_COUCHDB: [&str; 9] = [
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

/// Takes a document apart.
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
    // The other members keep their order, so that a document is written back as it was found.
    let (Some(Value::String(id)), Some(Value::String(rev))) =
        (members.shift_remove("_id"), members.shift_remove("_rev"))
    else {
        return Err(corrupt("a document should have an _id and a _rev"));
    };
    members.retain(|name, _| !OF_COUCHDB.contains(&name.as_str()));
    Ok((id, Rev(rev), Value::Object(members)))
}

/// The members of `body`, without `_id`, `_rev` and what CouchDB adds.
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
    members.retain(|name, _| !OF_COUCHDB.contains(&name.as_str()));
    Ok(members)
}

#[derive(Deserialize)]
struct Revisions {
    start: u64,
    ids: Vec<String>,
}

/// Reads the answer to `open_revs=all&revs=true`.
pub(crate) fn decode_leaves(call: &Call, answer: Value) -> Result<Vec<Leaf>> {
    let corrupt = |detail: &str| Error::Corrupt {
        call: call.clone(),
        detail: detail.to_owned(),
        source: None,
    };
    let Value::Array(rows) = answer else {
        return Err(corrupt("open_revs should be a list"));
    };
    let mut leaves = Vec::with_capacity(rows.len());
    for row in rows {
        let Value::Object(mut row) = row else {
            return Err(corrupt("open_revs should be a list of objects"));
        };
        let Some(document) = row.remove("ok") else {
            // `missing` names a revision of which only the name is known.
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
