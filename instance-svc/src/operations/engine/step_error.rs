//! Why a step could not be done, and what follows from that.

use crate::{domain::operation::OperationFailure, error::Error};

/// Why a step could not be done.
#[derive(Debug)]
pub enum StepError {
    /// It may be done later.
    Later(String),
    /// The operation has to go on from the step at this position: what this one built upon is gone.
    Again(usize, String),
    /// It can never be done.
    Never(OperationFailure),
}

impl From<Error> for StepError {
    fn from(error: Error) -> Self {
        match &error {
            // A replica that was started with an older configuration must not end what others can do.
            Error::Database(fault)
                if fault.is_retryable() || matches!(fault, couch::Error::NoSuchCluster { .. }) =>
            {
                Self::Later(error.to_failure().message)
            }
            Error::Service(status) if service_kit::status::is_transient(status) => {
                Self::Later(error.to_failure().message)
            }
            _ => Self::Never(error.to_failure()),
        }
    }
}

impl From<couch::Error> for StepError {
    fn from(error: couch::Error) -> Self {
        Self::from(Error::from(error))
    }
}

impl From<tonic::Status> for StepError {
    fn from(status: tonic::Status) -> Self {
        if service_kit::status::is_transient(&status) {
            Self::Later(status.message().to_owned())
        } else {
            Self::Never(OperationFailure {
                code: status.code() as i32,
                reason: service_kit::status::reason(&status)
                    .unwrap_or_else(|| "SERVICE_REFUSED".to_owned()),
                message: status.message().to_owned(),
            })
        }
    }
}
