//! What can go wrong with apps, and how callers see it.

use service_kit::status::{ServiceError, StatusBuilder, to_status};
use tonic::{Code, Status};

/// What can go wrong with apps. Each is a line that a person understands.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A field of the request is wrong.
    #[error("{field}: {wrong}")]
    Field {
        /// Which field.
        field: &'static str,
        /// What is wrong, and what would be right.
        wrong: String,
    },
    /// The source is understood, and nobody has built it yet.
    #[error("{0}")]
    NotBuilt(String),
    /// No registry has the app.
    #[error("{source_text}: {why}")]
    NotFound {
        /// What was asked for.
        source_text: String,
        /// Where it was looked for.
        why: String,
    },
    /// The app is not installed.
    #[error("{slug} is not installed")]
    NotInstalled {
        /// Its slug.
        slug: String,
    },
    /// An app of that slug came from elsewhere.
    #[error("{slug} is installed already, from {from}; uninstall it first")]
    Exists {
        /// Its slug.
        slug: String,
        /// Where the installed one came from.
        from: String,
    },
    /// The app has changed since the caller read it.
    #[error("{slug} has changed since; read it again")]
    Changed {
        /// Its slug.
        slug: String,
    },
    /// The manifest is wrong.
    #[error("the manifest is refused: {0}")]
    Manifest(String),
    /// The archive or folder is wrong.
    #[error("the archive is refused: {0}")]
    Archive(String),
    /// The archive is not the one that was announced.
    #[error("the archive is refused: its SHA-256 is {found}, and {announced} was announced")]
    Checksum {
        /// What was announced.
        announced: String,
        /// What came.
        found: String,
    },
    /// A registry does not answer, or not as it should.
    #[error("the registry {registry} {why}")]
    Registry {
        /// Its host.
        registry: String,
        /// What it did.
        why: String,
    },
    /// An archive cannot be had.
    #[error("the archive cannot be downloaded from {host}: {why}")]
    Download {
        /// The host it comes from.
        host: String,
        /// What happened.
        why: String,
    },
    /// It took too long.
    #[error("the installation took longer than {0} s")]
    TooLate(u64),
    /// The database failed.
    #[error("the database failed")]
    Database(#[from] couch::Error),
    /// The content store failed.
    #[error("the content store failed")]
    Contents(#[from] object_store::Error),
    /// Something stored cannot be read.
    #[error("what is stored cannot be read: {0}")]
    Stored(String),
    /// A part of the program failed.
    #[error("the work was broken off")]
    Broken(#[from] tokio::task::JoinError),
}

impl ServiceError for Error {
    fn status(&self) -> StatusBuilder {
        let (code, reason) = match self {
            Self::Field { field, wrong } => {
                return StatusBuilder::invalid_field(field, wrong.clone());
            }
            Self::NotBuilt(why) => return StatusBuilder::unimplemented(why.clone()),
            Self::Database(error) => return database_kit::status(error),
            Self::NotFound { .. } => (Code::NotFound, "APP_NOT_FOUND"),
            Self::NotInstalled { .. } => (Code::NotFound, "APP_NOT_INSTALLED"),
            Self::Exists { .. } => (Code::AlreadyExists, "APP_EXISTS"),
            Self::Changed { .. } => (Code::Aborted, "APP_CHANGED"),
            Self::Manifest(_) => (Code::FailedPrecondition, "MANIFEST_INVALID"),
            Self::Archive(_) => (Code::FailedPrecondition, "ARCHIVE_REFUSED"),
            Self::Checksum { .. } => (Code::FailedPrecondition, "CHECKSUM_MISMATCH"),
            Self::Registry { .. } => (Code::Unavailable, "REGISTRY_UNAVAILABLE"),
            Self::Download { .. } => (Code::Unavailable, "DOWNLOAD_FAILED"),
            Self::TooLate(_) => (Code::DeadlineExceeded, "APP_TOO_SLOW"),
            Self::Contents(_) => (Code::Unavailable, "CONTENT_STORE_FAILED"),
            // What is stored is for the operator only: it is in the log.
            Self::Stored(_) => {
                return StatusBuilder::new(
                    Code::Internal,
                    "STORED_INVALID",
                    "a stored app cannot be read",
                );
            }
            Self::Broken(_) => (Code::Internal, "BROKEN_OFF"),
        };
        StatusBuilder::new(code, reason, self.to_string())
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        to_status(&error)
    }
}
