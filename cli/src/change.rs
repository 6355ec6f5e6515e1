//! Changes: requested under an id, so that they are made once, and followed to their end.

use hamlet_proto::google::longrunning::Operation;
use tonic::{Response, Status};
use uuid::Uuid;

use crate::{
    error::CommandError,
    flags::{format::Format, request::RequestFlags},
    follow::{follow, result},
    session::{AdminChannel, Session},
    views::outcome,
};

/// A change to request.
#[derive(Debug)]
pub(crate) struct ChangeRequest<'a> {
    pub(crate) session: &'a Session,
    pub(crate) channel: &'a AdminChannel,
    pub(crate) format: Format,
    /// The kind of its operation, as in `OperationMetadata.kind`.
    pub(crate) kind: &'static str,
    /// The id under which it is made only once.
    pub(crate) request_id: String,
    /// Whether it is only checked.
    pub(crate) dry_run: bool,
    /// What takes long to check; empty for nothing special.
    pub(crate) about: String,
}

impl<'a> ChangeRequest<'a> {
    /// A change of this kind. Without an id of the user's it gets one, so that it can be repeated when its answer is lost.
    pub(crate) fn new(
        session: &'a Session,
        channel: &'a AdminChannel,
        format: Format,
        kind: &'static str,
        request: RequestFlags,
    ) -> Self {
        Self {
            session,
            channel,
            format,
            kind,
            request_id: request
                .request_id
                .unwrap_or_else(|| Uuid::new_v4().to_string()),
            dry_run: request.dry_run,
            about: String::new(),
        }
    }

    /// Requests it by `method`, follows its operation to the end and prints the outcome.
    ///
    /// # Errors
    /// As the change; and before it is requested, when its outcome has no such format.
    pub(crate) async fn make(
        self,
        method: impl AsyncFn() -> Result<Response<Operation>, Status>,
    ) -> Result<(), CommandError> {
        self.format.check_single()?;
        let waits = self.waits();
        let accepted = tokio::select! {
            biased;
            answer = self.session.call_for(&waits, method) => answer.map_err(|error| self.unanswered(error))?,
            signal = tokio::signal::ctrl_c() => {
                signal.map_err(CommandError::Signal)?;
                return Err(self.unanswered(CommandError::Interrupted("stopped".to_owned())));
            }
        };
        if !self.dry_run {
            let succeeded = follow(self.session, self.channel, accepted).await?;
            return outcome::print(self.format, &succeeded);
        }
        if accepted.done {
            return outcome::print_checked(self.format, self.kind, &result(accepted)?);
        }
        // A server that does not know `validate_only` has begun the change.
        Err(CommandError::Failed(format!(
            "{} was begun, although it was only to be checked; the server is of another version",
            accepted.name
        )))
    }

    /// What a terminal shows until the request is answered. A dry run of a creation fetches its apps before.
    fn waits(&self) -> String {
        match (self.dry_run, self.about.as_str()) {
            (true, "") => format!("checking: {}", self.kind),
            (true, about) => format!("checking: {about}"),
            (false, _) => format!("waiting for {}", self.session.url()),
        }
    }

    /// The error of a request without an answer: the server may have accepted it, and its id finds out.
    fn unanswered(&self, error: CommandError) -> CommandError {
        let hint = format!(
            "it may be at work all the same: look with `hamlet operations ls`, or give the same command again with \
             --request-id {}",
            self.request_id
        );
        match error {
            _ if self.dry_run => error,
            CommandError::Unavailable(why) => CommandError::Unavailable(format!("{why}; {hint}")),
            CommandError::Interrupted(why) => CommandError::Interrupted(format!("{why}; {hint}")),
            other => other,
        }
    }
}
