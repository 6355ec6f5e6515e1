//! The errors of the apps service, and the status of each.

use service_kit::status::{ServiceError, StatusBuilder, to_status};
use tonic::{Code, Status};

/// An error of the apps service. Each message is one line for a person.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A field of the request is invalid.
    #[error("{field}: {wrong}")]
    Field {
        /// Which field.
        field: &'static str,
        /// What is wrong, and what a valid value looks like.
        wrong: String,
    },
    /// The source is valid, but not supported yet.
    #[error("{0}")]
    NotBuilt(String),
    /// No registry has the app.
    #[error("{source_text}: {why}")]
    NotFound {
        /// The app that was requested.
        source_text: String,
        /// The registries that were searched.
        why: String,
    },
    /// The app is not installed.
    #[error("{slug} is not installed; `hamlet {kind}s ls {domain}` shows what is")]
    NotInstalled {
        /// Its kind: `app` or `konnector`.
        kind: &'static str,
        /// Its slug.
        slug: String,
        /// The instance.
        domain: String,
    },
    /// An app with that slug was installed from another source.
    #[error(
        "{slug} is installed already, from {from}; `hamlet {kind}s update {domain} {slug} --source SOURCE` takes it from \
         elsewhere"
    )]
    Exists {
        /// Its kind: `app` or `konnector`.
        kind: &'static str,
        /// The instance.
        domain: String,
        /// Its slug.
        slug: String,
        /// The source of the installed app.
        from: String,
    },
    /// The app has changed since the caller read it.
    #[error("{slug} has changed since; read it again")]
    Changed {
        /// Its slug.
        slug: String,
    },
    /// The new version asks for other permissions than the owner was shown.
    #[error(
        "the new version of {slug} asks for other permissions than were shown; look again at what it asks for"
    )]
    AsksForOthers {
        /// Its slug.
        slug: String,
    },
    /// The source has another version than the one that is wanted.
    #[error(
        "the source has version {found}, and {expected} is wanted; look again at what there is"
    )]
    OtherVersion {
        /// The version that is wanted.
        expected: String,
        /// The version that the source has.
        found: String,
    },
    /// The manifest is invalid.
    #[error("the manifest is refused: {0}")]
    Manifest(String),
    /// The archive or folder is invalid.
    #[error("the archive is refused: {0}")]
    Archive(String),
    /// The archive does not have the announced checksum.
    #[error("the archive is refused: its SHA-256 is {found}, and {announced} was announced")]
    Checksum {
        /// The announced checksum.
        announced: String,
        /// The actual checksum.
        found: String,
    },
    /// A registry did not answer, or answered with an error.
    #[error("the registry {registry} {why}")]
    Registry {
        /// The host of the registry.
        registry: String,
        /// What happened.
        why: String,
    },
    /// A registry gave an answer that cannot be used: another try gets the same.
    #[error("the registry {registry} {why}")]
    RegistryAnswer {
        /// The host of the registry.
        registry: String,
        /// What is wrong with the answer.
        why: String,
    },
    /// An archive cannot be downloaded.
    #[error("the archive cannot be downloaded from {host}: {why}")]
    Download {
        /// The host of the archive.
        host: String,
        /// What happened.
        why: String,
    },
    /// An archive cannot be downloaded: another try gets the same.
    #[error("the archive cannot be downloaded from {host}: {why}")]
    DownloadRefused {
        /// The host of the archive.
        host: String,
        /// What it answered.
        why: String,
    },
    /// The time limit of an installation or an update was exceeded.
    #[error("it took longer than {0} s")]
    TooLate(u64),
    /// The database failed.
    #[error("the database failed")]
    Database(#[from] couch::Error),
    /// The content store failed.
    #[error("the content store failed")]
    Contents(#[from] object_store::Error),
    /// A file store that other software uses, too, failed.
    #[error("the code of the app cannot be written to the file store")]
    FileStore(#[source] std::io::Error),
    /// A stored document cannot be read.
    #[error("what is stored cannot be read: {0}")]
    Stored(String),
    /// A task of the process panicked or was cancelled.
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
            Self::AsksForOthers { .. } => (Code::FailedPrecondition, "PERMISSIONS_CHANGED"),
            Self::OtherVersion { .. } => (Code::FailedPrecondition, "VERSION_CHANGED"),
            Self::Manifest(_) => (Code::FailedPrecondition, "MANIFEST_INVALID"),
            Self::Archive(_) => (Code::FailedPrecondition, "ARCHIVE_REFUSED"),
            Self::Checksum { .. } => (Code::FailedPrecondition, "CHECKSUM_MISMATCH"),
            Self::Registry { .. } => (Code::Unavailable, "REGISTRY_UNAVAILABLE"),
            Self::RegistryAnswer { .. } => (Code::FailedPrecondition, "REGISTRY_INVALID"),
            Self::Download { .. } => (Code::Unavailable, "DOWNLOAD_FAILED"),
            Self::DownloadRefused { .. } => (Code::FailedPrecondition, "DOWNLOAD_REFUSED"),
            Self::TooLate(_) => (Code::DeadlineExceeded, "APP_TOO_SLOW"),
            Self::Contents(_) => (Code::Unavailable, "CONTENT_STORE_FAILED"),
            Self::FileStore(_) => (Code::Unavailable, "FILE_STORE_FAILED"),
            // Stored data is for the operator only. It is in the log.
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
