//! What can go wrong between a service and its database.

use std::fmt;
use std::time::Duration;

use crate::bulk::BulkFailure;

/// Names the call an error belongs to: what was done, and in which database.
///
/// It never holds credentials, document ids or document bodies, so it may be logged.
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

    /// What was done, for example `put document`.
    #[must_use]
    pub fn verb(&self) -> &'static str {
        self.verb
    }

    /// The database it was done in, unencoded; `None` for calls to the server itself.
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

/// The cause under an [`Error`], kept for logs.
pub type Cause = Box<dyn std::error::Error + Send + Sync + 'static>;

/// Why a call to the database did not do what was asked.
///
/// A lost race is not an error: it is [`crate::Write::Conflict`], [`crate::Claim::Taken`] and
/// the like. A missing document is `None`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting cannot be used. Found before anything was sent.
    #[error("the setting {setting} of the database cannot be used: {reason}")]
    Config {
        /// Which setting.
        setting: &'static str,
        /// What is wrong, and what would be right. Never holds the value of a secret.
        reason: String,
    },
    /// A database name or document id cannot be used. Found before anything was sent.
    #[error("{name:?} cannot be the name of a {what}: {reason}")]
    Name {
        /// `database` or `document`.
        what: &'static str,
        /// The name that was refused.
        name: String,
        /// What is wrong, and what would be right.
        reason: &'static str,
    },
    /// A document is not a JSON object, or could not be made one. Found before anything was sent.
    #[error("{call}: the document cannot be written as a JSON object")]
    Encode {
        /// The call that was not made.
        call: Call,
        /// What serde said.
        #[source]
        source: Option<serde_json::Error>,
    },
    /// No answer came: no connection, or one that broke. A write may or may not have happened
    /// (see [`Error::is_outcome_unknown`]).
    #[error("{call}: the database cannot be reached")]
    Unavailable {
        /// The call.
        call: Call,
        /// The connection could not even be opened, so that nothing was written.
        unsent: bool,
        /// What the transport said.
        #[source]
        source: Cause,
    },
    /// No answer came within the call's deadline. A write may or may not have happened.
    #[error("{call}: the database did not answer within {after:?}")]
    Timeout {
        /// The call.
        call: Call,
        /// How long was waited.
        after: Duration,
    },
    /// The server does not accept the credentials, or they do not allow the call (401, 403).
    #[error("{call}: the database refuses the credentials: {reason}")]
    Unauthorized {
        /// The call.
        call: Call,
        /// CouchDB's `reason`.
        reason: String,
    },
    /// The database that the call is about does not exist.
    #[error("{call}: the database does not exist")]
    DatabaseMissing {
        /// The call.
        call: Call,
    },
    /// The request is larger than the server takes (413).
    #[error("{call}: too large for the database: {reason}")]
    TooLarge {
        /// The call.
        call: Call,
        /// CouchDB's `reason`.
        reason: String,
    },
    /// Any other status that is no success.
    #[error("{call}: the database answered {status} {error}: {reason}")]
    Refused {
        /// The call.
        call: Call,
        /// The HTTP status.
        status: u16,
        /// CouchDB's `error`, empty when the answer was not CouchDB's JSON.
        error: String,
        /// CouchDB's `reason`, empty when the answer was not CouchDB's JSON.
        reason: String,
    },
    /// The answer cannot be understood: not the JSON that the call promises, or a document that
    /// does not have the fields its type needs.
    #[error("{call}: the answer of the database cannot be read: {detail}")]
    Corrupt {
        /// The call.
        call: Call,
        /// What was expected. Holds no document.
        detail: String,
        /// What serde said, when it was serde.
        #[source]
        source: Option<serde_json::Error>,
    },
    /// The write lies on fewer nodes than a majority, and no other writer is to be seen: nodes
    /// are down or cut off. Whether the write stays is open; the same call may be made again.
    #[error("{call}: no majority of the database's nodes holds the write")]
    NoMajority {
        /// The call.
        call: Call,
    },
    /// Some documents of a bulk write were not written, or the whole lies on less than a majority.
    #[error("{call}: {failure}")]
    Bulk {
        /// The call.
        call: Call,
        /// Which documents, and why.
        failure: BulkFailure,
    },
    /// The list of servers has none at this position. Found before anything was sent.
    #[error(
        "the couch cluster {position} is not in the configuration, which lists {listed}, counted from 0: \
         list it again at its place"
    )]
    NoSuchCluster {
        /// The position that was asked for.
        position: i64,
        /// How many servers the list has.
        listed: usize,
    },
    /// A server of the list cannot be used.
    #[error("the couch cluster {position} cannot be used: {source}")]
    Cluster {
        /// Its position, from 0.
        position: usize,
        /// Why not.
        source: Box<Error>,
    },
    /// No index fits a query that demands one (see [`crate::Find::allow_scan`]).
    #[error("{call}: no index fits the query, which would read the whole database")]
    NoIndex {
        /// The call.
        call: Call,
    },
}

impl Error {
    /// Whether the same call may succeed a little later with nothing else changed.
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

    /// Whether a write that failed so may have happened all the same: the answer was lost, or
    /// the server failed in the middle. The way to find out is to read.
    #[must_use]
    pub fn is_outcome_unknown(&self) -> bool {
        match self {
            Self::Unavailable { unsent, .. } => !unsent,
            Self::Timeout { .. } | Self::NoMajority { .. } => true,
            // An answer that was cut off or garbled on the way says nothing about the write.
            Self::Corrupt { .. } => true,
            Self::Refused { status, .. } => *status >= 500,
            Self::Bulk { .. } => true,
            _ => false,
        }
    }

    /// The call that failed; `None` when it never came to one.
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
            | Self::Bulk { call, .. }
            | Self::NoIndex { call } => Some(call),
        }
    }
}

/// The result of a call to the database.
pub type Result<T, E = Error> = std::result::Result<T, E>;
