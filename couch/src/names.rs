//! Database names and document ids.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::error::{Error, Result};

/// The characters to encode in a path segment: all except the unreserved ones of RFC 3986.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// CouchDB's default of `couchdb.max_database_name_length`, in bytes.
const MAX_DATABASE_NAME: usize = 238;

/// A valid name of a database: lower-case letters, digits and `_$()+-/`, beginning with a letter, at most
/// 238 bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DbName(String);

impl DbName {
    /// A name that is used unchanged.
    ///
    /// # Errors
    /// [`Error::Name`] if the name is invalid.
    pub fn new(name: impl Into<String>) -> Result<Self> {
        let name = name.into();
        let refuse = |reason| {
            Err(Error::Name {
                what: "database",
                name: name.clone(),
                reason,
            })
        };
        if name.len() > MAX_DATABASE_NAME {
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

    /// The database of a doctype of an instance: `prefix/doctype` in lower case, with each `.` and `:`
    /// replaced by `-` (`…/io-cozy-files` for `io.cozy.files`).
    ///
    /// # Errors
    /// [`Error::Name`] if the result is invalid, or a part is empty or contains a `/`.
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
        Self::new(format!("{}/{}", normalize(prefix), normalize(doctype)))
    }

    /// The part before the `/` in the names of all databases of an instance: the prefix, normalized as in
    /// [`DbName::instance`].
    ///
    /// # Errors
    /// As [`DbName::instance`].
    pub fn instance_prefix(prefix: &str) -> Result<String> {
        Self::instance(prefix, "x")?;
        Ok(normalize(prefix))
    }

    /// A database of the installation: `global/name`, normalized as in [`DbName::instance`].
    ///
    /// # Errors
    /// As [`DbName::instance`].
    pub fn global(name: &str) -> Result<Self> {
        Self::instance("global", name)
    }

    /// The unencoded name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as a segment of a path.
    pub(crate) fn encoded(&self) -> String {
        encode_segment(&self.0)
    }
}

fn normalize(part: &str) -> String {
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

/// The id of a new document.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DocId(String);

/// The time stamp of the last id: 48 bits of milliseconds, 16 bits of counter.
static LAST_STAMP: AtomicU64 = AtomicU64::new(0);

impl DocId {
    /// An id of 32 lower-case hex digits that ascends with time, so that B-trees grow at their end. 12
    /// digits are milliseconds since 1970, 4 are a counter, 16 are random. Within a process each id is
    /// greater than all previous ones, even if the clock is set back.
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
        Self(format!("{stamp:016x}{:016x}", crate::random::entropy()))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id as an owned text.
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

/// A document id as part of a path: one segment, after the prefix `_design/` or `_local/` if it has one.
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
        // URL parsers resolve these segments, even percent-encoded.
        "." | ".." => refuse("it means a folder in a URL"),
        _ if id.starts_with('_') => refuse("ids that begin with _ are CouchDB's own"),
        _ => Ok(encode_segment(id)),
    }
}
