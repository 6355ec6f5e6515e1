//! Operations: nothing half-made, nothing half-gone.
//!
//! - [`engine`] accepts, drives, takes over and shows operations; it knows no kind of them
//! - [`create`], [`change`] and [`destroy`] do and undo the steps of their kind
//! - [`taking`] lets one operation at a time work on an instance that exists
//! - [`orphans`] finds and removes what belongs to nobody
//! - [`failpoints`] lets tests make any step fail, run twice or die
//!
//! Deciding is pure and lies in [`crate::domain::operation`].

pub mod change;
mod claims;
pub mod create;
pub mod destroy;
pub mod engine;
pub mod failpoints;
pub(crate) mod holdings;
mod line;
pub mod orphans;
mod peers;
pub(crate) mod sealing;
mod secrets;
pub(crate) mod taking;

pub use engine::{Accepted, Engine, Settings};
pub use peers::Peers;
pub use sealing::Sealing;

use crate::{
    domain::{operation::Failure, operation::Operation},
    error::Error,
};

/// What a step that was done leaves to be written down.
pub(crate) type Report = Box<dyn FnOnce(&mut Operation) + Send>;

/// A report with nothing in it.
pub(crate) fn nothing() -> Report {
    Box::new(|_| {})
}

/// Why a step could not be done.
#[derive(Debug)]
pub(crate) enum StepError {
    /// It may be done later.
    Later(String),
    /// It has to be begun again from the step with this name: what it built upon is gone.
    Again(&'static str, String),
    /// It can never be done.
    Never(Failure),
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
            Self::Never(Failure {
                code: status.code() as i32,
                reason: service_kit::status::reason(&status)
                    .unwrap_or_else(|| "SERVICE_REFUSED".to_owned()),
                message: status.message().to_owned(),
            })
        }
    }
}
