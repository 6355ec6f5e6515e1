//! What can go wrong with apps, and how callers see it.

use service_kit::status::{Failure, invalid_field, unimplemented};
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
    #[error("the database failed: {0}")]
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

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        let failure = |code, reason| Failure::new(code, reason, message.clone()).build();
        match error {
            Error::Field { field, wrong } => invalid_field(field, wrong),
            Error::NotBuilt(why) => unimplemented(&why),
            Error::NotFound { .. } => failure(Code::NotFound, "APP_NOT_FOUND"),
            Error::NotInstalled { .. } => failure(Code::NotFound, "APP_NOT_INSTALLED"),
            Error::Exists { .. } => failure(Code::AlreadyExists, "APP_EXISTS"),
            Error::Changed { .. } => failure(Code::Aborted, "APP_CHANGED"),
            Error::Manifest(_) => failure(Code::FailedPrecondition, "MANIFEST_INVALID"),
            Error::Archive(_) => failure(Code::FailedPrecondition, "ARCHIVE_REFUSED"),
            Error::Checksum { .. } => failure(Code::FailedPrecondition, "CHECKSUM_MISMATCH"),
            Error::Registry { .. } => failure(Code::Unavailable, "REGISTRY_UNAVAILABLE"),
            Error::Download { .. } => failure(Code::Unavailable, "DOWNLOAD_FAILED"),
            Error::TooLate(_) => failure(Code::DeadlineExceeded, "APP_TOO_SLOW"),
            Error::Database(source) => database(&source),
            Error::Contents(source) => {
                tracing::error!(error = %source, "the content store failed");
                failure(Code::Unavailable, "CONTENT_STORE_FAILED")
            }
            Error::Stored(_) => {
                tracing::error!(%message, "a stored document cannot be used");
                Failure::new(
                    Code::Internal,
                    "STORED_INVALID",
                    "a stored app cannot be read",
                )
                .build()
            }
            Error::Broken(source) => {
                tracing::error!(error = %source, "a task ended before its time");
                failure(Code::Internal, "BROKEN_OFF")
            }
        }
    }
}

fn database(error: &couch::Error) -> Status {
    if matches!(error, couch::Error::DatabaseMissing { .. }) {
        return Failure::new(
            Code::FailedPrecondition,
            "INSTANCE_INCOMPLETE",
            "the databases of this instance are not there: it is being made or destroyed",
        )
        .build();
    }
    tracing::error!(%error, "the database failed");
    if matches!(error, couch::Error::NoSuchCluster { .. }) {
        return Failure::new(
            Code::FailedPrecondition,
            "CLUSTER_NOT_CONFIGURED",
            error.to_string(),
        )
        .build();
    }
    if error.is_retryable() {
        Failure::new(
            Code::Unavailable,
            "DATABASE_UNAVAILABLE",
            "the database does not answer as it should; try again",
        )
        .build()
    } else {
        Failure::new(
            Code::Internal,
            "DATABASE_FAILED",
            "the database refused the work",
        )
        .build()
    }
}
