//! Why a step failed, and what the engine does about it.

use crate::{domain::operation::OperationFailure, error::Error};

/// Why a step failed.
#[derive(Debug)]
pub enum StepError {
    /// The step can be tried again later.
    Later(String),
    /// The operation has to resume at this earlier position: what the step relied on is gone.
    Again(usize, String),
    /// The step can never succeed.
    Never(OperationFailure),
}

impl From<Error> for StepError {
    fn from(error: Error) -> Self {
        match &error {
            // A replica with an older configuration must not fail an operation that other replicas can finish.
            Error::Database(fault)
                if fault.is_retryable() || matches!(fault, couch::Error::NoSuchCluster { .. }) =>
            {
                Self::Later(error.to_failure().message)
            }
            Error::NewcomersUnknown => Self::Later(error.to_failure().message),
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
