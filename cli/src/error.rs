//! Why a command failed, and its exit code.

use std::io;

use tonic::{Code, Status};

/// Why a command did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    /// The arguments are invalid, or contradict each other.
    #[error("{0}")]
    Usage(String),
    /// The command was valid and did not succeed.
    #[error("{0}")]
    Failed(String),
    /// What was asked for does not exist.
    #[error("{0}")]
    NotFound(String),
    /// No server was found, it cannot be reached, or it did not answer in time.
    #[error("{0}")]
    Unavailable(String),
    /// The credential was refused, or the command is disabled here.
    #[error("{0}")]
    NotAllowed(String),
    /// Ctrl-C stopped the command.
    #[error("{0}")]
    Interrupted(String),
    /// The server answered with an error.
    #[error("{}", message(.0))]
    Refused(Box<Status>),
    /// Standard output cannot be written, for instance because its reader has ended.
    #[error("cannot write: {0}")]
    Output(#[from] io::Error),
    /// Ctrl-C cannot be caught.
    #[error("cannot listen for Ctrl-C: {0}")]
    Signal(#[source] io::Error),
    /// The server carried out an operation that ended with an error.
    #[error("{}", message(.0))]
    Ended(Box<Status>),
    /// The answer has no JSON form.
    #[error("the server's answer cannot be shown: {0}")]
    Json(#[from] hamlet_proto::json::Error),
    /// The answer cannot be decoded.
    #[error("the server's answer cannot be read: {0}")]
    Answer(#[from] prost::DecodeError),
}

impl From<Status> for CommandError {
    fn from(status: Status) -> Self {
        Self::Refused(Box::new(status))
    }
}

impl CommandError {
    /// Whether the reader of standard output has closed it.
    pub(crate) fn is_closed_output(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// 1 failed, 2 wrong use, 3 not found, 4 exists or conflict, 5 not allowed, 6 unavailable or too late, 130
    /// stopped by Ctrl-C.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            // A reader such as `head` ends early on purpose.
            _ if self.is_closed_output() => 0,
            Self::Failed(_)
            | Self::Output(_)
            | Self::Signal(_)
            | Self::Json(_)
            | Self::Answer(_) => 1,
            Self::Usage(_) => 2,
            Self::NotFound(_) => 3,
            Self::NotAllowed(_) => 5,
            Self::Unavailable(_) => 6,
            Self::Interrupted(_) => 130,
            // Somebody cancelled the operation.
            Self::Ended(status) if status.code() == Code::Cancelled => 1,
            Self::Refused(status) | Self::Ended(status) => match status.code() {
                Code::InvalidArgument | Code::OutOfRange => 2,
                Code::NotFound => 3,
                // The request conflicts with the present state.
                Code::AlreadyExists | Code::Aborted | Code::FailedPrecondition => 4,
                Code::PermissionDenied | Code::Unauthenticated => 5,
                Code::Unavailable | Code::DeadlineExceeded | Code::ResourceExhausted => 6,
                // tonic reports its own timeouts as cancelled.
                Code::Cancelled => 6,
                _ => 1,
            },
        }
    }
}

fn message(status: &Status) -> &str {
    match status.message() {
        "" => status.code().description(),
        message => message,
    }
}

#[cfg(test)]
mod tests {
    use tonic::{Code, Status};

    use super::CommandError;

    #[test]
    fn a_cancelled_operation_is_not_a_call_that_was_too_late() {
        let cancelled = || Box::new(Status::cancelled(""));
        assert_eq!(CommandError::Ended(cancelled()).exit_code(), 1);
        assert_eq!(CommandError::Refused(cancelled()).exit_code(), 6);
    }

    #[test]
    fn every_code_has_its_exit_code() {
        for (code, exit) in [
            (Code::InvalidArgument, 2),
            (Code::NotFound, 3),
            (Code::AlreadyExists, 4),
            (Code::Aborted, 4),
            (Code::FailedPrecondition, 4),
            (Code::PermissionDenied, 5),
            (Code::Unavailable, 6),
            (Code::DeadlineExceeded, 6),
            (Code::ResourceExhausted, 6),
            (Code::Internal, 1),
            (Code::Unimplemented, 1),
        ] {
            assert_eq!(
                CommandError::from(Status::new(code, "")).exit_code(),
                exit,
                "{code:?}"
            );
        }
    }
}
