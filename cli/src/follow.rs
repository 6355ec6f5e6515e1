//! Following a long-running operation to its end.

use std::time::Duration;

use hamlet_proto::{
    google::longrunning::{Operation, operation},
    hamlet::instance::v1::{
        OperationMetadata, WatchOperationRequest, operation_metadata::Phase,
        operation_service_client::OperationServiceClient, step,
    },
    unpack,
};
use prost_types::Any;
use tokio::time::{Instant, sleep, timeout_at};
use tonic::{Code, Status, Streaming};

use crate::{
    error::CommandError,
    output::text::clean,
    session::{AdminChannel, RECONNECT_WITHIN, RETRY_PAUSE, Session, is_lost},
    waiting::Line,
};

/// How long the first state of a watch may take: the server sends it at once.
const FIRST_STATE_WITHIN: Duration = Duration::from_millis(4500);

/// An operation that has succeeded.
#[derive(Debug)]
pub(crate) struct Succeeded {
    /// The operation.
    pub(crate) operation: Operation,
    /// Its response.
    pub(crate) response: Any,
}

/// Follows an operation to its end, with its progress on a terminal. When the server is lost, the watch is repeated for
/// [`RECONNECT_WITHIN`]; the operation continues meanwhile.
///
/// # Errors
/// The operation's own error; [`CommandError::Unavailable`] or [`CommandError::Interrupted`], which name the operation.
pub(crate) async fn follow(
    session: &Session,
    channel: &AdminChannel,
    accepted: Operation,
) -> Result<Succeeded, CommandError> {
    if accepted.done {
        return result(accepted);
    }
    let name = accepted.name;
    tokio::select! {
        outcome = follow_on(session, channel, &name) => outcome,
        signal = tokio::signal::ctrl_c() => {
            signal.map_err(CommandError::Signal)?;
            Err(CommandError::Interrupted(goes_on(&name, "stopped watching")))
        }
    }
}

async fn follow_on(
    session: &Session,
    channel: &AdminChannel,
    name: &str,
) -> Result<Succeeded, CommandError> {
    let mut progress = Progress::new();
    // When the watch is given up; `None` while it delivers states.
    let mut deadline = None;
    loop {
        match watch(channel, name, &mut progress, &mut deadline).await? {
            Watched::Ended(operation) => return result(operation),
            Watched::Broken(Some(status)) if !is_lost(&status) => {
                return Err(session.status_error(status));
            }
            Watched::Broken(_) => {
                let until = *deadline.get_or_insert_with(|| Instant::now() + RECONNECT_WITHIN);
                if Instant::now() + RETRY_PAUSE >= until {
                    return Err(CommandError::Unavailable(goes_on(
                        name,
                        &format!("lost the server at {}", session.url()),
                    )));
                }
                sleep(RETRY_PAUSE).await;
            }
        }
    }
}

fn goes_on(name: &str, why: &str) -> String {
    let id = name.strip_prefix("operations/").unwrap_or(name);
    format!("{why}; {name} goes on: follow it with `hamlet operations wait {id}`")
}

/// How a watch ended.
enum Watched {
    /// The operation ended.
    Ended(Operation),
    /// The stream broke off, with a status or without one.
    Broken(Option<Status>),
}

/// Watches until the operation ends or the stream breaks off. Only the first state has a time limit.
async fn watch(
    channel: &AdminChannel,
    name: &str,
    progress: &mut Progress,
    deadline: &mut Option<Instant>,
) -> Result<Watched, CommandError> {
    let until = deadline.unwrap_or_else(|| Instant::now() + FIRST_STATE_WITHIN);
    let first = async {
        let mut states: Streaming<Operation> = OperationServiceClient::new(channel.clone())
            .watch_operation(WatchOperationRequest {
                name: name.to_owned(),
            })
            .await?
            .into_inner();
        let state = states.message().await?;
        Ok::<_, Status>((states, state))
    };
    let (mut states, mut next) = match timeout_at(until, first).await {
        Ok(Ok((states, state))) => (states, Ok(state)),
        Ok(Err(status)) => return Ok(Watched::Broken(Some(status))),
        Err(_) => {
            *deadline = Some(until);
            return Ok(Watched::Broken(None));
        }
    };
    loop {
        let state = match next {
            Ok(Some(state)) => state,
            Ok(None) => return Ok(Watched::Broken(None)),
            Err(status) => return Ok(Watched::Broken(Some(status))),
        };
        *deadline = None;
        progress.show(&state)?;
        if state.done {
            return Ok(Watched::Ended(state));
        }
        next = states.message().await;
    }
}

/// The response of an operation that has ended.
///
/// # Errors
/// The operation's own error.
pub(crate) fn result(operation: Operation) -> Result<Succeeded, CommandError> {
    match operation.result.clone() {
        Some(operation::Result::Response(response)) => Ok(Succeeded {
            operation,
            response,
        }),
        Some(operation::Result::Error(error)) => {
            let details = prost::Message::encode_to_vec(&error);
            let code = Code::from_i32(error.code);
            let status = Status::with_details(code, error.message, details.into());
            Err(CommandError::Ended(Box::new(status)))
        }
        None => Err(CommandError::Failed(format!(
            "{} ended without a result",
            operation.name
        ))),
    }
}

/// Shows progress at a terminal, in one line that is gone at the end: the step at work, what it works on, and the time.
#[derive(Debug)]
struct Progress {
    /// `None` when standard error is no terminal.
    line: Option<Line>,
    /// The last trouble that was told.
    trouble: String,
}

impl Progress {
    fn new() -> Self {
        Self {
            line: Line::begin(),
            trouble: String::new(),
        }
    }

    fn show(&mut self, state: &Operation) -> Result<(), CommandError> {
        let (Some(line), Some(metadata)) = (&self.line, &state.metadata) else {
            return Ok(());
        };
        let metadata: OperationMetadata = unpack(metadata)?.unwrap_or_default();
        let step = metadata
            .steps
            .iter()
            .find(|step| step.state() == step::State::Running)
            .or_else(|| {
                let mut steps = metadata.steps.iter();
                steps.find(|step| step.state() == step::State::Pending)
            });
        let step = step.map(|step| match step.detail.as_str() {
            "" => clean(&step.name).into_owned(),
            detail => format!("{}: {}", clean(&step.name), clean(detail)),
        });
        let (message, trouble) = match metadata.phase() {
            Phase::Queued => match metadata.queue_position {
                Some(before) if before > 0 => (
                    format!("waiting in line: {before} before it"),
                    String::new(),
                ),
                _ => ("waiting in line".to_owned(), String::new()),
            },
            Phase::Waiting => (
                step.unwrap_or_default(),
                format!(
                    "trying again after {} tries: {}",
                    metadata.attempt,
                    clean(&metadata.last_error)
                ),
            ),
            Phase::Unwinding => (
                "taking back".to_owned(),
                format!("taking back: {}", clean(&metadata.last_error)),
            ),
            _ => (step.unwrap_or_default(), String::new()),
        };
        line.say(message);
        if trouble != self.trouble {
            if !trouble.is_empty() {
                line.print_above(&format!("  {trouble}"));
            }
            self.trouble = trouble;
        }
        Ok(())
    }
}
