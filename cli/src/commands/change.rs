//! Changes: asked for under an id, so that they are made once, and followed to their end.

use hamlet_proto::google::longrunning::Operation;
use tonic::{Response, Status};
use uuid::Uuid;

use super::outcome;
use crate::{
    args::{Format, Request},
    failure::Failure,
    operation::{ended, follow},
    session::{Door, Session},
};

/// A change that somebody asks for.
#[derive(Debug)]
pub(super) struct Change<'a> {
    pub(super) session: &'a Session,
    pub(super) door: &'a Door,
    pub(super) format: Format,
    /// What it is, in the words of `OperationMetadata.kind`.
    pub(super) kind: &'static str,
    /// Its id.
    pub(super) request_id: String,
    /// Whether it is checked only.
    pub(super) dry_run: bool,
}

impl<'a> Change<'a> {
    /// A change of this kind. One without an id gets one, so that it can be asked for again when its answer is lost.
    pub(super) fn new(
        session: &'a Session,
        door: &'a Door,
        format: Format,
        kind: &'static str,
        request: Request,
    ) -> Self {
        Self {
            session,
            door,
            format,
            kind,
            request_id: request
                .request_id
                .unwrap_or_else(|| Uuid::new_v4().to_string()),
            dry_run: request.dry_run,
        }
    }

    /// Asks for it by `call`, follows it to its end and prints what came of it.
    ///
    /// # Errors
    /// Why it was not made.
    pub(super) async fn make(
        self,
        call: impl AsyncFn() -> Result<Response<Operation>, Status>,
    ) -> Result<(), Failure> {
        let accepted = tokio::select! {
            biased;
            answer = self.session.ask(call) => answer.map_err(|failure| self.unanswered(failure))?,
            signal = tokio::signal::ctrl_c() => {
                signal?;
                return Err(self.unanswered(Failure::Interrupted("stopped".to_owned())));
            }
        };
        if !self.dry_run {
            let ended = follow(self.session, self.door, accepted).await?;
            return outcome::print(self.format, &ended);
        }
        if accepted.done {
            return outcome::print_checked(self.format, self.kind, &ended(accepted)?);
        }
        // A server that does not know the wish to check only has begun the change.
        Err(Failure::Failed(format!(
            "{} was begun, although it was only to be checked; the server is of another version",
            accepted.name
        )))
    }

    /// Nobody knows whether a change was accepted whose answer was lost; its id finds out.
    fn unanswered(&self, failure: Failure) -> Failure {
        let hint = format!(
            "it may be at work all the same: look with `hamlet operations ls`, or give the same command again with \
             --request-id {}",
            self.request_id
        );
        match failure {
            _ if self.dry_run => failure,
            Failure::Unavailable(why) => Failure::Unavailable(format!("{why}; {hint}")),
            Failure::Interrupted(why) => Failure::Interrupted(format!("{why}; {hint}")),
            other => other,
        }
    }
}
