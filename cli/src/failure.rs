//! What went wrong, as a line and an exit code.

use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::text::clean;

/// Why a command did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The command cannot mean anything.
    #[error("{0}")]
    Usage(String),
    /// It was understood and did not work.
    #[error("{0}")]
    Failed(String),
    /// There is no server to be found or reached, or it was too late.
    #[error("{0}")]
    Unavailable(String),
    /// The server refused.
    #[error("{}", .0.message())]
    Refused(Box<Status>),
    /// Standard output cannot be written, because nobody reads it any more for one.
    #[error("cannot write: {0}")]
    Output(#[from] std::io::Error),
    /// A message has no JSON form.
    #[error("the server's answer cannot be shown: {0}")]
    Json(#[from] hamlet_proto::json::Error),
    /// An answer cannot be read.
    #[error("the server's answer cannot be read: {0}")]
    Answer(#[from] prost::DecodeError),
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Self::Refused(Box::new(status))
    }
}

impl Failure {
    /// 1 failed, 2 wrong use, 3 not found, 4 exists or conflict, 5 not allowed, 6 unavailable or too late.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Failed(_) | Self::Output(_) | Self::Json(_) | Self::Answer(_) => 1,
            Self::Usage(_) => 2,
            Self::Unavailable(_) => 6,
            Self::Refused(status) => match status.code() {
                Code::InvalidArgument | Code::OutOfRange => 2,
                Code::NotFound => 3,
                Code::AlreadyExists | Code::Aborted => 4,
                Code::PermissionDenied | Code::Unauthenticated | Code::FailedPrecondition => 5,
                Code::Unavailable | Code::DeadlineExceeded | Code::ResourceExhausted => 6,
                // tonic reports its own timeouts as cancelled.
                Code::Cancelled => 6,
                _ => 1,
            },
        }
    }

    /// Tells a person: one line, and one for each field that is wrong.
    pub(crate) fn tell(&self) {
        let mut lines = vec![format!("error: {}", clean(&self.to_string()))];
        if let Self::Refused(status) = self
            && let Some(request) = status.get_details_bad_request()
        {
            for violation in request.field_violations {
                let line = format!("{}: {}", violation.field, violation.description);
                // The message of a request with one wrong field says the same already.
                if !status.message().contains(&line) {
                    lines.push(format!("  {}", clean(&line)));
                }
            }
        }
        for line in lines {
            say(&line);
        }
    }
}

/// A line for a person, on standard error.
pub(crate) fn say(line: &str) {
    #[expect(clippy::print_stderr, reason = "the one place where people are told")]
    {
        eprintln!("{line}");
    }
}
