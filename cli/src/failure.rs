//! What went wrong, as a line and an exit code.

use std::io::{self, Write as _};

use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::{args::Spelling, text::clean};

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
    /// The credential was refused.
    #[error("{0}")]
    NotAllowed(String),
    /// The person stopped the command.
    #[error("{0}")]
    Interrupted(String),
    /// The server refused.
    #[error("{}", message(.0))]
    Refused(Box<Status>),
    /// Standard output cannot be written, because nobody reads it any more for one.
    #[error("cannot write: {0}")]
    Output(#[from] io::Error),
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
    /// 1 failed, 2 wrong use, 3 not found, 4 exists or conflict, 5 not allowed, 6 unavailable or too late, 130
    /// stopped by Ctrl-C.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            // Whoever reads the output has seen enough, as `head` has.
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => 0,
            Self::Failed(_) | Self::Output(_) | Self::Json(_) | Self::Answer(_) => 1,
            Self::Usage(_) => 2,
            Self::NotAllowed(_) => 5,
            Self::Unavailable(_) => 6,
            Self::Interrupted(_) => 130,
            Self::Refused(status) => match status.code() {
                Code::InvalidArgument | Code::OutOfRange => 2,
                Code::NotFound => 3,
                // What is asked for conflicts with how things stand.
                Code::AlreadyExists | Code::Aborted | Code::FailedPrecondition => 4,
                Code::PermissionDenied | Code::Unauthenticated => 5,
                Code::Unavailable | Code::DeadlineExceeded | Code::ResourceExhausted => 6,
                // tonic reports its own timeouts as cancelled.
                Code::Cancelled => 6,
                _ => 1,
            },
        }
    }

    /// Tells a person: one line, and one for each field that is wrong, by the flag that sets it.
    pub(crate) fn tell(&self, spelling: &Spelling) {
        if let Self::Output(error) = self
            && error.kind() == io::ErrorKind::BrokenPipe
        {
            return;
        }
        for line in self.lines(spelling) {
            say(&clean(&line));
        }
    }

    fn lines(&self, spelling: &Spelling) -> Vec<String> {
        let message = self.to_string();
        let violations = match self {
            Self::Refused(status) => status
                .get_details_bad_request()
                .map(|request| request.field_violations)
                .unwrap_or_default(),
            _ => Vec::new(),
        };
        let wrong: Vec<_> = violations
            .iter()
            .map(|violation| {
                let (field, why) = (&violation.field, &violation.description);
                let plain = format!("{field}: {why}");
                match spelling.of_field(field) {
                    Some(flag) => (format!("{flag} ({field}): {why}"), plain),
                    None => (plain.clone(), plain),
                }
            })
            .collect();
        // The message of a request with one wrong field says what the violation says.
        if let [(line, plain)] = wrong.as_slice()
            && *plain == message
        {
            return vec![format!("error: {line}")];
        }
        let mut lines = vec![format!("error: {message}")];
        lines.extend(wrong.into_iter().map(|(line, _)| format!("  {line}")));
        lines
    }
}

/// A line for a person, on standard error.
pub(crate) fn say(line: &str) {
    // Nobody is left to be told when stderr is closed.
    let _ = writeln!(io::stderr(), "{line}");
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

    use super::Failure;

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
                Failure::from(Status::new(code, "")).exit_code(),
                exit,
                "{code:?}"
            );
        }
    }
}
