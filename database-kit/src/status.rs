//! Database errors as callers see them. Every service maps them here, so that one cause has one
//! reason.

use couch::Error;
use service_kit::status::{StatusBuilder, reasons};
use tonic::Code;

/// The status of a call that failed because of the database.
///
/// Messages may hold the names of databases; [`couch::Error`] never shows credentials or documents.
pub fn status(error: &Error) -> StatusBuilder {
    match error {
        Error::DatabaseMissing { call } if call.database_name().is_some_and(of_an_instance) => {
            StatusBuilder::new(
                Code::FailedPrecondition,
                reasons::INSTANCE_INCOMPLETE,
                "the databases of the instance are not there; it is being created or destroyed",
            )
        }
        Error::NoSuchCluster { .. } => StatusBuilder::new(
            Code::FailedPrecondition,
            "CLUSTER_NOT_CONFIGURED",
            error.to_string(),
        ),
        error if error.is_disk_full() => StatusBuilder::new(
            Code::FailedPrecondition,
            "DISK_FULL",
            match error.call() {
                Some(call) => {
                    format!(
                        "the server's disk is full; destroy instances, or make room on it ({call})"
                    )
                }
                None => {
                    "the server's disk is full; destroy instances, or make room on it".to_owned()
                }
            },
        ),
        error if error.is_retryable() => StatusBuilder::new(
            Code::Unavailable,
            "DATABASE_UNAVAILABLE",
            format!("the database cannot be used right now, try again: {error}"),
        ),
        error => StatusBuilder::new(
            Code::Internal,
            "DATABASE_REFUSED",
            format!("the database refused a call: {error}"),
        ),
    }
}

/// Whether a database belongs to an instance. A missing global one is a fault of the installation.
fn of_an_instance(database: &str) -> bool {
    !database.starts_with("global/")
}

#[cfg(test)]
mod tests {
    use couch::Error;
    use tonic::Code;

    use super::status;

    #[test]
    fn a_cluster_that_is_not_configured_is_told_apart_from_a_broken_database() {
        let missing = status(&Error::NoSuchCluster {
            position: 3,
            listed: 1,
        });
        assert_eq!(missing.reason(), "CLUSTER_NOT_CONFIGURED");
        assert_eq!(missing.code(), Code::FailedPrecondition);

        let broken = status(&Error::Config {
            setting: "url",
            reason: "it is no URL".to_owned(),
        });
        assert_eq!(broken.reason(), "DATABASE_REFUSED");
        assert_eq!(broken.code(), Code::Internal);
    }
}
