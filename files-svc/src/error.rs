//! What can go wrong with files, and how callers see it.

use service_kit::status::{Failure, invalid_field};
use tonic::{Code, Status};

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A field of the request cannot be used.
    #[error("{field}: {wrong}")]
    Field {
        /// Which field.
        field: &'static str,
        /// What is wrong, and what would be right.
        wrong: String,
    },
    /// There is no such file or directory.
    #[error("there is no file or directory {0}; `hamlet files tree` shows what there is")]
    NotFound(String),
    /// It is a file where a directory is needed.
    #[error("{0} is a file; name a directory")]
    NotADirectory(String),
    /// The directories of an instance were made before, by another operation.
    #[error("the instance has its directories already, made by another operation")]
    MadeByAnother,
    /// The databases of files were never made, or are gone.
    #[error("the instance has no database of files; it is being made or destroyed")]
    NoDatabase,
    /// A document does not fit into the tree.
    #[error("the document {id} of {database} is broken: {what}")]
    Broken {
        /// The database.
        database: String,
        /// The document.
        id: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The prefix of the instance cannot name a folder or a database.
    #[error("the prefix of the instance cannot be used; it looks like cozy and 32 hex digits")]
    Prefix,
    /// The database failed.
    #[error("the database failed")]
    Database(#[source] couch::Error),
    /// The store of contents failed.
    #[error("the store of contents failed")]
    Contents(#[from] object_store::Error),
    /// A folder of contents cannot be removed.
    #[error("a folder of contents cannot be removed")]
    Folder(#[source] std::io::Error),
}

impl Error {
    /// A field that cannot be used.
    pub(crate) fn field(field: &'static str, wrong: impl std::fmt::Display) -> Self {
        Self::Field {
            field,
            wrong: wrong.to_string(),
        }
    }
}

impl From<couch::Error> for Error {
    fn from(error: couch::Error) -> Self {
        match error {
            couch::Error::DatabaseMissing { .. } => Self::NoDatabase,
            other => Self::Database(other),
        }
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let shown = error.to_string();
        let (code, reason, message) = match &error {
            Error::Field { field, wrong } => return invalid_field(field, wrong.clone()),
            Error::NotFound(_) => (Code::NotFound, "FILE_NOT_FOUND", shown),
            Error::NotADirectory(_) => (Code::FailedPrecondition, "NOT_A_DIRECTORY", shown),
            Error::MadeByAnother => (Code::AlreadyExists, "DIRECTORIES_EXIST", shown),
            Error::NoDatabase => (Code::FailedPrecondition, "NO_DATABASE", shown),
            Error::Broken { .. } => (Code::DataLoss, "BROKEN_DOCUMENT", shown),
            Error::Prefix => (Code::Internal, "UNUSABLE_PREFIX", shown),
            Error::Database(error) if error.is_retryable() => (
                Code::Unavailable,
                "DATABASE_UNAVAILABLE",
                format!("the database cannot be used right now, try again: {error}"),
            ),
            Error::Database(error @ couch::Error::NoSuchCluster { .. }) => (
                Code::FailedPrecondition,
                "CLUSTER_NOT_CONFIGURED",
                error.to_string(),
            ),
            Error::Database(error) => (
                Code::Internal,
                "DATABASE_REFUSED",
                format!("the database refused a call: {error}"),
            ),
            // Where the contents lie is nothing for callers: it is in the log only.
            Error::Contents(_) | Error::Folder(_) => (
                Code::Unavailable,
                "CONTENTS_UNAVAILABLE",
                format!("{shown}, try again; the log of the files service says why"),
            ),
        };
        if matches!(code, Code::Internal | Code::DataLoss | Code::Unavailable) {
            tracing::error!(error = &error as &dyn std::error::Error, "a call failed");
        }
        Failure::new(code, reason, message).build()
    }
}
