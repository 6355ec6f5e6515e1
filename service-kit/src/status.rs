//! Errors as callers see them: a `Status` with the details of AIP-193.
//!
//! Each domain has one error enum, which implements [`ServiceError`]: the one place that gives each
//! error its code, reason and message. [`to_status`] makes the `Status` and logs what an operator has
//! to see. A message is written for the caller: it says what to do, and holds no secret.

pub mod reasons;

use std::{collections::HashMap, error::Error, time::Duration};

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// The `domain` of every `google.rpc.ErrorInfo` of Hamlet.
pub const DOMAIN: &str = "hamlet";

/// The error enum of a domain.
pub trait ServiceError: Error {
    /// Code, reason and message of this error, and the details for programs.
    fn status(&self) -> StatusBuilder;
}

/// The status that a call fails with. Errors that the operator has to know of are logged with their
/// causes: faults of the service itself as errors, dependencies that are away as warnings.
#[must_use]
pub fn to_status<E: ServiceError + 'static>(error: &E) -> Status {
    let status = error.status();
    let cause = error as &(dyn Error + 'static);
    let reason = status.reason();
    match status.code() {
        Code::Internal | Code::DataLoss | Code::Unknown => {
            tracing::error!(error = cause, reason, "a call failed");
        }
        Code::Unavailable => tracing::warn!(error = cause, reason, "a call failed"),
        _ => {}
    }
    status.build()
}

/// The longest text of a status, in bytes. A status travels in headers, and peers refuse long ones; so a text that
/// repeats what a caller sent is cut here.
const LONGEST_TEXT: usize = 1000;

/// The longest text of all field violations together, in bytes.
const LONGEST_DETAILS: usize = 3000;

/// A text of at most `longest` bytes, and an ellipsis for what was cut.
fn cut(mut text: String, longest: usize) -> String {
    if text.len() > longest {
        let mut end = longest;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push('…');
    }
    text
}

/// Collects the parts of a status.
#[derive(Debug)]
#[must_use = "a status has to be built"]
pub struct StatusBuilder {
    code: Code,
    message: String,
    reason: String,
    metadata: HashMap<String, String>,
    details: ErrorDetails,
    /// The size of the field violations, in bytes.
    details_size: usize,
}

impl StatusBuilder {
    /// A status with a reason in `UPPER_SNAKE_CASE` that programs can rely on, and a message that says
    /// what is wrong and what to do.
    pub fn new(code: Code, reason: &str, message: impl Into<String>) -> Self {
        Self {
            code,
            message: cut(message.into(), LONGEST_TEXT),
            reason: reason.to_owned(),
            metadata: HashMap::new(),
            details: ErrorDetails::new(),
            details_size: 0,
        }
    }

    /// A request with one wrong field. `wrong` says what is wrong and what would be right.
    pub fn invalid_field(field: &str, wrong: impl Into<String>) -> Self {
        let wrong = wrong.into();
        Self::new(
            Code::InvalidArgument,
            "INVALID_FIELD",
            format!("{field}: {wrong}"),
        )
        .field(field, wrong)
    }

    /// A request with several wrong fields, each with what is wrong and what would be right.
    pub fn invalid_fields<'a>(fields: impl Iterator<Item = (&'a str, &'a str)> + Clone) -> Self {
        let told: Vec<_> = fields
            .clone()
            .map(|(field, wrong)| format!("{field}: {wrong}"))
            .collect();
        let message = told.join("; ");
        fields.fold(
            Self::new(Code::InvalidArgument, "INVALID_FIELD", message),
            |status, (field, wrong)| status.field(field, wrong),
        )
    }

    /// A call that the contract has and the server does not implement yet. `message` says what to do
    /// instead.
    pub fn unimplemented(message: impl Into<String>) -> Self {
        Self::new(Code::Unimplemented, "NOT_BUILT_YET", message)
    }

    /// Adds a value to the metadata of the `ErrorInfo`, for programs.
    pub fn with(mut self, key: &str, value: impl Into<String>) -> Self {
        let value = cut(value.into(), LONGEST_TEXT);
        self.metadata.insert(key.to_owned(), value);
        self
    }

    /// Says after what time another try may succeed.
    pub fn retry_after(mut self, time: Duration) -> Self {
        self.details.set_retry_info(Some(time));
        self
    }

    /// Adds a field violation: what would be right in this field of the request.
    pub fn field(mut self, field: &str, description: impl Into<String>) -> Self {
        let field = cut(field.to_owned(), LONGEST_TEXT / 5);
        let description = cut(description.into(), LONGEST_TEXT);
        let size = field.len() + description.len();
        if self.details_size + size <= LONGEST_DETAILS {
            self.details_size += size;
            self.details.add_bad_request_violation(field, description);
        } else if self.details_size < LONGEST_DETAILS {
            // No further one is added after this.
            self.details_size = LONGEST_DETAILS;
            self.details
                .add_bad_request_violation("…", "more is wrong; mend these fields first");
        }
        self
    }

    /// The code.
    #[must_use]
    pub const fn code(&self) -> Code {
        self.code
    }

    /// The reason.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// The message.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The finished status.
    #[must_use]
    pub fn build(mut self) -> Status {
        self.details
            .set_error_info(self.reason, DOMAIN, self.metadata);
        Status::with_error_details(self.code, self.message, self.details)
    }
}

/// The finished [`StatusBuilder::invalid_field`].
#[must_use]
pub fn invalid_field(field: &str, wrong: impl Into<String>) -> Status {
    StatusBuilder::invalid_field(field, wrong).build()
}

/// The reason in the `ErrorInfo` of a status; `None` when the status is not one of Hamlet's.
#[must_use]
pub fn reason(status: &Status) -> Option<String> {
    let info = status.get_details_error_info()?;
    (info.domain == DOMAIN).then_some(info.reason)
}

/// Whether the same call, unchanged, may succeed later: the server was unreachable or late.
///
/// tonic reports its own timeouts as `CANCELLED` with "Timeout expired", and a connection that broke
/// during a call as `UNKNOWN` or similar. Such a status has a source; one that a server sent never has.
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
    fn a_wrong_field_is_named_for_people_and_for_programs() {
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
    fn a_broken_connection_is_transient_and_an_answer_is_not() {
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
