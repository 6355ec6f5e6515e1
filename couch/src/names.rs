//! Names of databases, and ids of documents.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::error::{Error, Result};

/// All but RFC 3986's unreserved characters: a name is always one segment of the path.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// CouchDB's own limit (`couchdb.max_database_name_length`), in bytes.
const LONGEST_DATABASE_NAME: usize = 238;

/// The name of a database, valid for CouchDB: lower-case letters, digits and `_$()+-/`, beginning
/// with a letter, at most 238 bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DbName(String);

impl DbName {
    /// A name as it stands.
    ///
    /// # Errors
    /// [`Error::Name`] when CouchDB would refuse it.
    pub fn new(name: impl Into<String>) -> Result<Self> {
        let name = name.into();
        let refuse = |reason| {
            Err(Error::Name {
                what: "database",
                name: name.clone(),
                reason,
            })
        };
        if name.len() > LONGEST_DATABASE_NAME {
            return refuse("it is longer than 238 bytes");
        }
        if !name.starts_with(|c: char| c.is_ascii_lowercase()) {
            return refuse("it has to begin with a letter a-z");
        }
        let allowed = |c: char| {
            c.is_ascii_lowercase()
                || c.is_ascii_digit()
                || matches!(c, '_' | '$' | '(' | ')' | '+' | '-' | '/')
        };
        if !name.chars().all(allowed) {
            return refuse("only a-z, 0-9 and _ $ ( ) + - / can stand in it");
        }
        Ok(Self(name))
    }

    /// The database of a doctype of one instance: `prefix/doctype`, with each `.` and `:` of either
    /// part made `-`, in lower case (`io.cozy.files` lies in `…/io-cozy-files`).
    ///
    /// # Errors
    /// [`Error::Name`] when the result is no database name, or a part is empty or has a `/`.
    pub fn instance(prefix: &str, doctype: &str) -> Result<Self> {
        for part in [prefix, doctype] {
            if part.is_empty() || part.contains('/') {
                return Err(Error::Name {
                    what: "database",
                    name: format!("{prefix}/{doctype}"),
                    reason: "prefix and doctype must not be empty or hold a /",
                });
            }
        }
        Self::new(format!("{}/{}", mapped(prefix), mapped(doctype)))
    }

    /// What the names of all databases of an instance begin with, before the `/`: the prefix, mapped as in
    /// [`DbName::instance`].
    ///
    /// # Errors
    /// As [`DbName::instance`].
    pub fn instance_prefix(prefix: &str) -> Result<String> {
        Self::instance(prefix, "x")?;
        Ok(mapped(prefix))
    }

    /// A database of the whole installation: `global/name`, mapped as in [`DbName::instance`].
    ///
    /// # Errors
    /// As [`DbName::instance`].
    pub fn global(name: &str) -> Result<Self> {
        Self::instance("global", name)
    }

    /// The name as it stands, `/` included.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As one segment of a path.
    pub(crate) fn encoded(&self) -> String {
        encode_segment(&self.0)
    }
}

fn mapped(part: &str) -> String {
    part.replace(['.', ':'], "-").to_lowercase()
}

impl fmt::Display for DbName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for DbName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// An id for a new document.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DocId(String);

/// The last stamp given out: 48 bits of milliseconds, 16 bits of counter.
static LAST_STAMP: AtomicU64 = AtomicU64::new(0);

impl DocId {
    /// 32 lower-case hex digits that ascend with time, so that B-trees grow at their end: 12 of
    /// milliseconds since 1970, 4 of a counter, 16 random. Within one process each is greater
    /// than all before, even when the clock is set back.
    #[must_use]
    pub fn ascending() -> Self {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| {
                u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
            })
            << 16;
        let next = |last: u64| now.max(last.wrapping_add(1));
        let stamp = match LAST_STAMP.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| {
            Some(next(last))
        }) {
            Ok(last) | Err(last) => next(last),
        };
        Self(format!("{stamp:016x}{:016x}", crate::pause::entropy()))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id as text, owned.
    #[must_use]
    pub fn into_string(self) -> String {
        self.0
    }
}

impl fmt::Display for DocId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for DocId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

pub(crate) fn encode_segment(text: &str) -> String {
    utf8_percent_encode(text, SEGMENT).to_string()
}

/// A document id as it stands in a path: one segment, but for the two prefixes of CouchDB's own.
pub(crate) fn encode_document_id(id: &str) -> Result<String> {
    let refuse = |reason| {
        Err(Error::Name {
            what: "document",
            name: id.to_owned(),
            reason,
        })
    };
    for special in ["_design/", "_local/"] {
        if let Some(rest) = id.strip_prefix(special) {
            if matches!(rest, "" | "." | "..") {
                return refuse("nothing usable follows its prefix");
            }
            return Ok(format!("{special}{}", encode_segment(rest)));
        }
    }
    match id {
        "" => refuse("it is empty"),
        // A URL takes these for steps in the path, encoded or not.
        "." | ".." => refuse("it means a folder in a URL"),
        _ if id.starts_with('_') => refuse("ids that begin with _ are CouchDB's own"),
        _ => Ok(encode_segment(id)),
    }
}
