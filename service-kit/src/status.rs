//! Errors as callers see them: a `Status` with the particulars of AIP-193.
//!
//! Each service has one function that turns its error enum into a `Status`; it
//! builds it here. A message is written for the caller and holds no secret.

use std::{collections::HashMap, error::Error as _};

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// The `domain` of every `google.rpc.ErrorInfo` of Hamlet.
pub const DOMAIN: &str = "hamlet";

/// A status in the making.
#[derive(Debug)]
#[must_use = "a status has to be built"]
pub struct Failure {
    code: Code,
    message: String,
    reason: String,
    metadata: HashMap<String, String>,
    details: ErrorDetails,
}

impl Failure {
    /// A failure with a code, a reason in `UPPER_SNAKE_CASE` that programs can rely on, and a
    /// message that says what is wrong and what would be right.
    pub fn new(code: Code, reason: &str, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            reason: reason.to_owned(),
            metadata: HashMap::new(),
            details: ErrorDetails::new(),
        }
    }

    /// Adds a fact to the `ErrorInfo`, for programs.
    pub fn with(mut self, key: &str, value: impl Into<String>) -> Self {
        self.metadata.insert(key.to_owned(), value.into());
        self
    }

    /// Names a field of the request and what would be right in it.
    pub fn field(mut self, field: &str, description: impl Into<String>) -> Self {
        self.details
            .add_bad_request_violation(field, description.into());
        self
    }

    /// The finished status.
    #[must_use]
    pub fn build(mut self) -> Status {
        self.details
            .set_error_info(self.reason, DOMAIN, self.metadata);
        Status::with_error_details(self.code, self.message, self.details)
    }
}

/// A request with one wrong field. `wrong` says what is wrong and what would be right.
#[must_use]
pub fn invalid_field(field: &str, wrong: impl Into<String>) -> Status {
    let wrong = wrong.into();
    Failure::new(
        Code::InvalidArgument,
        "INVALID_FIELD",
        format!("{field}: {wrong}"),
    )
    .field(field, wrong)
    .build()
}

/// A call that the contract names and that is not built yet. `why` says so and what to do instead.
#[must_use]
pub fn unimplemented(why: &str) -> Status {
    Failure::new(Code::Unimplemented, "NOT_BUILT_YET", why).build()
}

/// The reason in a status' `ErrorInfo`, when it is one of Hamlet's.
#[must_use]
pub fn reason(status: &Status) -> Option<String> {
    let info = status.get_details_error_info()?;
    (info.domain == DOMAIN).then_some(info.reason)
}

/// Whether the same call may succeed later, unchanged: the other side was out of reach or late.
///
/// tonic reports its own timeouts as `CANCELLED` with "Timeout expired", and a connection that broke in the
/// middle of a call as `UNKNOWN` or the like; then the status has a cause, which an answer never has.
#[must_use]
pub fn is_transient(status: &Status) -> bool {
    match status.code() {
        Code::Unavailable | Code::DeadlineExceeded | Code::ResourceExhausted | Code::Aborted => {
            true
        }
        Code::Cancelled if status.message().contains("Timeout expired") => true,
        Code::Cancelled | Code::Unknown | Code::Internal => status.source().is_some(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use tonic_types::StatusExt as _;

    use tonic::Status;

    use super::{invalid_field, is_transient, reason};

    #[test]
    fn a_wrong_field_is_named_to_people_and_to_programs() {
        let status = invalid_field("instance.domain", "is empty; give a host name");
        assert_eq!(
            status.message(),
            "instance.domain: is empty; give a host name"
        );
        assert_eq!(reason(&status).unwrap(), "INVALID_FIELD");
        let violations = status.get_details_bad_request().unwrap().field_violations;
        assert_eq!(violations.first().unwrap().field, "instance.domain");
    }

    #[test]
    fn a_broken_connection_passes_and_an_answer_does_not() {
        let broken = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        assert!(is_transient(&Status::from_error(Box::new(broken))));
        assert!(is_transient(&Status::unavailable("starting")));
        for answered in [
            Status::unknown("no"),
            Status::internal("no"),
            Status::cancelled("no"),
        ] {
            assert!(!is_transient(&answered), "{answered:?}");
        }
    }
}
