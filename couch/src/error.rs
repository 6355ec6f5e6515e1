//! Errors of calls to the database.

use std::fmt;
use std::time::Duration;

/// The call that an error belongs to: its name and its database.
///
/// Never holds credentials, document ids or document bodies, so it may be logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    verb: &'static str,
    database: Option<String>,
}

impl Call {
    pub(crate) fn server(verb: &'static str) -> Self {
        Self {
            verb,
            database: None,
        }
    }

    pub(crate) fn database(verb: &'static str, database: &str) -> Self {
        Self {
            verb,
            database: Some(database.to_owned()),
        }
    }

    /// The name of the call, for example `put document`.
    #[must_use]
    pub fn verb(&self) -> &'static str {
        self.verb
    }

    /// The unencoded name of the database; `None` for calls to the server.
    #[must_use]
    pub fn database_name(&self) -> Option<&str> {
        self.database.as_deref()
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.database {
            Some(database) => write!(f, "{} in {database}", self.verb),
            None => f.write_str(self.verb),
        }
    }
}

/// The cause of an [`Error`], for logs.
pub type Cause = Box<dyn std::error::Error + Send + Sync + 'static>;

/// Why a call to the database failed.
///
/// A lost race is an outcome, not an error ([`crate::Write::Conflict`], [`crate::ClaimOutcome::Taken`]). A
/// missing document is `None`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting is invalid. Nothing was sent.
    #[error("{}: {reason}", flag_of(setting))]
    Config {
        /// The name of the setting.
        setting: &'static str,
        /// What is wrong and what would be right. Never holds a secret.
        reason: String,
    },
    /// A database name or document id is invalid. Nothing was sent.
    #[error("{name:?} cannot be the name of a {what}: {reason}")]
    Name {
        /// `database` or `document`.
        what: &'static str,
        /// The invalid name.
        name: String,
        /// What is wrong and what would be right.
        reason: &'static str,
    },
    /// A document does not serialize to a JSON object. Nothing was sent.
    #[error("{call}: the document cannot be written as a JSON object")]
    Encode {
        /// The call that was not sent.
        call: Call,
        /// The error of serde.
        #[source]
        source: Option<serde_json::Error>,
    },
    /// The connection failed or broke. A write may have happened (see [`Error::is_outcome_unknown`]).
    #[error("{call}: the database cannot be reached")]
    Unavailable {
        /// The call.
        call: Call,
        /// Whether the connection could not be opened, so that nothing was written.
        unsent: bool,
        /// The error of the HTTP client.
        #[source]
        source: Cause,
    },
    /// No response arrived within the deadline of the call. A write may have happened.
    #[error("{call}: the database did not answer within {after:?}")]
    Timeout {
        /// The call.
        call: Call,
        /// The time limit.
        after: Duration,
    },
    /// The server refuses the credentials, or they do not permit the call (401, 403).
    #[error("{call}: the database refuses the credentials: {reason}")]
    Unauthorized {
        /// The call.
        call: Call,
        /// CouchDB's `reason`.
        reason: String,
    },
    /// The database of the call does not exist.
    #[error("{call}: the database does not exist")]
    DatabaseMissing {
        /// The call.
        call: Call,
    },
    /// The request is larger than the server permits (413).
    #[error("{call}: too large for the database: {reason}")]
    TooLarge {
        /// The call.
        call: Call,
        /// CouchDB's `reason`.
        reason: String,
    },
    /// Any other status that is not 2xx.
    #[error("{call}: the database answered {status} {error}: {reason}")]
    Refused {
        /// The call.
        call: Call,
        /// The HTTP status.
        status: u16,
        /// CouchDB's `error`; empty if the response is not CouchDB's JSON.
        error: String,
        /// CouchDB's `reason`; empty if the response is not CouchDB's JSON.
        reason: String,
    },
    /// The response is not the JSON that the call expects, or a document cannot be deserialized as the
    /// requested type.
    #[error("{call}: the answer of the database cannot be read: {detail}")]
    Corrupt {
        /// The call.
        call: Call,
        /// What is wrong. Never holds a document.
        detail: String,
        /// The error of serde, if there is one.
        #[source]
        source: Option<serde_json::Error>,
    },
    /// Fewer nodes than a majority hold the write, and there is no other writer: nodes are down or cut off.
    /// The write may still succeed. The call may be repeated.
    #[error("{call}: no majority of the database's nodes holds the write")]
    NoMajority {
        /// The call.
        call: Call,
    },
    /// Some documents of a bulk write were not written, or no majority holds them.
    #[error("{call}: {failure}")]
    Bulk {
        /// The call.
        call: Call,
        /// The documents, with reasons.
        failure: BulkFailure,
    },
    /// The list of servers has no entry at this position. Nothing was sent.
    #[error(
        "the couch cluster {position} is not in the configuration, which lists {listed}, counted from 0: \
         list it again at its place"
    )]
    NoSuchCluster {
        /// The requested position.
        position: i64,
        /// The length of the list.
        listed: usize,
    },
    /// A server of the list failed or is misconfigured.
    #[error("the couch cluster {position} cannot be used: {source}")]
    Cluster {
        /// The position of the server, from 0.
        position: usize,
        /// The error of the server.
        source: Box<Error>,
    },
}

/// The flag that gives a setting of the client.
fn flag_of(setting: &'static str) -> &'static str {
    match setting {
        "url" => "couchdb",
        "user" => "couchdb-user",
        "password" => "couchdb-password-file",
        "q" => "couchdb-q",
        "n" => "couchdb-n",
        other => other,
    }
}

impl Error {
    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unavailable { .. } | Self::Timeout { .. } | Self::NoMajority { .. } => true,
            Self::Refused { status, .. } => matches!(status, 408 | 429 | 500 | 502 | 503 | 504),
            Self::Bulk { failure, .. } => failure.is_retryable(),
            Self::Cluster { source, .. } => source.is_retryable(),
            _ => false,
        }
    }

    /// Whether the disk of the database is full: only what makes room is carried out.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        match self {
            Self::Refused { status, .. } => *status == 507,
            Self::Bulk { failure, .. } => failure
                .failed
                .iter()
                .any(|failed| failed.error == "insufficent_storage"),
            Self::Cluster { source, .. } => source.is_disk_full(),
            _ => false,
        }
    }

    /// Whether the write may have happened despite this error: the response was lost, or the server failed
    /// during the write. The caller has to read to find out.
    #[must_use]
    pub fn is_outcome_unknown(&self) -> bool {
        match self {
            Self::Unavailable { unsent, .. } => !unsent,
            Self::Timeout { .. } | Self::NoMajority { .. } => true,
            // A truncated or garbled response does not say whether the write happened.
            Self::Corrupt { .. } => true,
            Self::Refused { status, .. } => *status >= 500,
            Self::Bulk { .. } => true,
            _ => false,
        }
    }

    /// The call that failed; `None` if no call was made.
    #[must_use]
    pub fn call(&self) -> Option<&Call> {
        match self {
            Self::Config { .. } | Self::Name { .. } | Self::NoSuchCluster { .. } => None,
            Self::Cluster { source, .. } => source.call(),
            Self::Encode { call, .. }
            | Self::Unavailable { call, .. }
            | Self::Timeout { call, .. }
            | Self::Unauthorized { call, .. }
            | Self::DatabaseMissing { call }
            | Self::TooLarge { call, .. }
            | Self::Refused { call, .. }
            | Self::Corrupt { call, .. }
            | Self::NoMajority { call }
            | Self::Bulk { call, .. } => Some(call),
        }
    }
}

/// A document of a bulk write that was not written, and CouchDB's reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedDocument {
    /// The id of the document.
    pub id: String,
    /// CouchDB's `error`, for example `conflict` or `forbidden`.
    pub error: String,
    /// CouchDB's `reason`, a sentence.
    pub reason: String,
}

/// What failed of a bulk write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BulkFailure {
    /// The documents that were not written.
    pub failed: Vec<FailedDocument>,
    /// Whether fewer nodes than a majority hold the documents that were written (202).
    pub contested: bool,
}

impl BulkFailure {
    /// Whether a repeat may succeed: no document was refused, only the majority is missing.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.failed.is_empty() && self.contested
    }
}

impl fmt::Display for BulkFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.failed.first() {
            Some(first) => write!(
                f,
                "{} of the documents were not written, the first {}: {} ({})",
                self.failed.len(),
                first.id,
                first.error,
                first.reason
            ),
            None => f.write_str("no majority of the nodes holds the documents"),
        }
    }
}

/// The result of a call to the database.
pub type Result<T, E = Error> = std::result::Result<T, E>;
