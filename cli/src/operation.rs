//! Following a long-running operation to its end.

use std::{
    io::{self, IsTerminal as _},
    time::Duration,
};

use hamlet_proto::{
    google::longrunning::{Operation, operation},
    hamlet::instance::v1::{
        OperationMetadata, WatchOperationRequest, operation_metadata::Phase,
        operation_service_client::OperationServiceClient, step,
    },
    unpack,
};
use prost_types::Any;
use tokio::time::{Instant, timeout_at};
use tokio_stream::StreamExt as _;
use tonic::{Code, Status};

use crate::{
    failure::{Failure, say},
    session::Session,
    text::clean,
};

/// How long a lost server is looked for.
const PATIENCE: Duration = Duration::from_millis(4500);
/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(200);

/// What came of an operation.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The operation.
    pub(crate) operation: Operation,
    /// Its response.
    pub(crate) response: Any,
}

/// Follows an operation to its end, showing its progress on a terminal. A server that is lost is looked for for some
/// seconds; the operation goes on without us.
///
/// # Errors
/// The operation's own failure, or [`Failure::Unavailable`] naming the operation.
pub(crate) async fn follow(session: &Session, accepted: Operation) -> Result<Ended, Failure> {
    if accepted.done {
        return ended(accepted);
    }
    let name = accepted.name;
    tokio::select! {
        outcome = follow_on(session, &name) => outcome,
        _ = tokio::signal::ctrl_c() => Err(goes_on(&name, "stopped watching")),
    }
}

async fn follow_on(session: &Session, name: &str) -> Result<Ended, Failure> {
    let mut progress = Progress::new();
    // Since when the server is lost.
    let mut lost = None;
    loop {
        match watch(session, name, &mut progress, &mut lost).await {
            Ok(operation) => return ended(operation),
            Err(Failure::Refused(status)) if !is_lost(&status) => {
                return Err(Failure::Refused(status));
            }
            Err(Failure::Refused(_) | Failure::Unavailable(_)) => {
                let since = *lost.get_or_insert_with(Instant::now);
                if Instant::now() + PAUSE >= since + PATIENCE {
                    return Err(goes_on(name, "the server was lost"));
                }
                tokio::time::sleep(PAUSE).await;
            }
            Err(other) => return Err(other),
        }
    }
}

fn goes_on(name: &str, why: &str) -> Failure {
    let id = name.strip_prefix("operations/").unwrap_or(name);
    Failure::Unavailable(format!(
        "{why}; {name} goes on: follow it with `hamlet operations wait {id}`"
    ))
}

fn is_lost(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Unavailable
            | Code::Unknown
            | Code::Cancelled
            | Code::Internal
            | Code::DeadlineExceeded
    )
}

/// Watches until the end. Opening the stream has to be quick; what has begun goes on as long as it takes.
async fn watch(
    session: &Session,
    name: &str,
    progress: &mut Progress,
    lost: &mut Option<Instant>,
) -> Result<Operation, Failure> {
    let until = lost.unwrap_or_else(Instant::now) + PATIENCE;
    let opened = async {
        let door = session.door().await?;
        let states = OperationServiceClient::new(door)
            .watch_operation(WatchOperationRequest {
                name: name.to_owned(),
            })
            .await?;
        Ok::<_, Failure>(states.into_inner())
    };
    let mut states = timeout_at(until, opened)
        .await
        .map_err(|_| Failure::Unavailable("too late".to_owned()))??;
    while let Some(state) = states.next().await {
        let state = state?;
        *lost = None;
        progress.show(&state)?;
        if state.done {
            return Ok(state);
        }
    }
    Err(Failure::Unavailable("the stream ended".to_owned()))
}

fn ended(operation: Operation) -> Result<Ended, Failure> {
    match operation.result.clone() {
        Some(operation::Result::Response(response)) => Ok(Ended {
            operation,
            response,
        }),
        Some(operation::Result::Error(error)) => {
            let details = prost::Message::encode_to_vec(&error);
            let code = Code::from_i32(error.code);
            Err(Status::with_details(code, error.message, details.into()).into())
        }
        None => Err(Failure::Failed(format!(
            "{} ended without a result",
            operation.name
        ))),
    }
}

/// Progress for a person: each step once, on a terminal only.
#[derive(Debug)]
struct Progress {
    shown: usize,
    told: String,
    terminal: bool,
}

impl Progress {
    fn new() -> Self {
        Self {
            shown: 0,
            told: String::new(),
            terminal: io::stderr().is_terminal(),
        }
    }

    fn show(&mut self, state: &Operation) -> Result<(), Failure> {
        let Some(metadata) = state.metadata.as_ref().filter(|_| self.terminal) else {
            return Ok(());
        };
        let metadata: OperationMetadata = unpack(metadata)?.unwrap_or_default();
        let done = metadata
            .steps
            .iter()
            .take_while(|step| step.state() == step::State::Done)
            .count();
        for step in metadata.steps.iter().take(done).skip(self.shown) {
            say(&format!("  {} done", clean(&step.name)));
        }
        self.shown = self.shown.max(done);
        let now = match metadata.phase() {
            Phase::Queued => "waiting in line".to_owned(),
            Phase::Waiting => format!("trying again: {}", clean(&metadata.last_error)),
            Phase::Unwinding => format!("taking back: {}", clean(&metadata.last_error)),
            _ => String::new(),
        };
        if now != self.told {
            if !now.is_empty() {
                say(&format!("  {now}"));
            }
            self.told = now;
        }
        Ok(())
    }
}
