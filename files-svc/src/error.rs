//! The errors of the files service, and the status of each.

use service_kit::status::{ServiceError, StatusBuilder, to_status};
use tonic::{Code, Status};

/// An error of the files service.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A field of the request is not valid.
    #[error("{field}: {wrong}")]
    Field {
        /// Which field.
        field: &'static str,
        /// What is wrong, and what a valid value looks like.
        wrong: String,
    },
    /// The file or directory does not exist.
    #[error("there is no file or directory {0}; `hamlet files tree` shows what there is")]
    NotFound(String),
    /// The request needs a directory, but names a file.
    #[error("{0} is a file; name a directory")]
    NotADirectory(String),
    /// Another operation has already created the directories of the instance.
    #[error("the instance has its directories already, made by another operation")]
    MadeByAnother,
    /// The file store has a folder of the domain already.
    #[error(
        "the file store has a folder {0} already, with somebody's files; move it away, or remove it with \
         `hamlet instances orphans --purge` if that lists it"
    )]
    FolderTaken(String),
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
    /// The prefix cannot be used in the name of a folder or database.
    #[error("the prefix of the instance cannot be used; it looks like cozy and 32 hex digits")]
    Prefix,
    /// The database failed.
    #[error("the database failed")]
    Database(#[from] couch::Error),
    /// The content store failed.
    #[error("the store of contents failed")]
    Contents(#[from] object_store::Error),
    /// A folder of contents cannot be used.
    #[error("a folder of contents cannot be used")]
    Folder(#[source] std::io::Error),
}

impl Error {
    /// The error for an invalid field.
    pub(crate) fn field(field: &'static str, wrong: impl std::fmt::Display) -> Self {
        Self::Field {
            field,
            wrong: wrong.to_string(),
        }
    }

    /// Whether the error is a missing database of the instance.
    pub(crate) const fn is_database_missing(&self) -> bool {
        matches!(self, Self::Database(couch::Error::DatabaseMissing { .. }))
    }
}

impl ServiceError for Error {
    fn status(&self) -> StatusBuilder {
        let (code, reason) = match self {
            Self::Field { field, wrong } => {
                return StatusBuilder::invalid_field(field, wrong.clone());
            }
            Self::Database(error) => return database_kit::status(error),
            Self::NotFound(_) => (Code::NotFound, "FILE_NOT_FOUND"),
            Self::NotADirectory(_) => (Code::FailedPrecondition, "NOT_A_DIRECTORY"),
            Self::MadeByAnother => (Code::AlreadyExists, "DIRECTORIES_EXIST"),
            Self::FolderTaken(_) => (Code::AlreadyExists, "FOLDER_EXISTS"),
            Self::Broken { .. } => (Code::DataLoss, "BROKEN_DOCUMENT"),
            Self::Prefix => (Code::Internal, "UNUSABLE_PREFIX"),
            // Paths of the content store are for the operator only. They are in the log.
            Self::Contents(_) | Self::Folder(_) => {
                return StatusBuilder::new(
                    Code::Unavailable,
                    "CONTENTS_UNAVAILABLE",
                    format!("{self}, try again; the log of the files service says why"),
                );
            }
        };
        StatusBuilder::new(code, reason, self.to_string())
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        to_status(&error)
    }
}
