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
use tokio::time::{Instant, sleep, timeout_at};
use tonic::{Code, Status, Streaming};

use crate::{
    failure::{Failure, say},
    session::{Door, PATIENCE, PAUSE, Session, is_lost},
    text::clean,
};

/// How long the first state of an operation may take to come.
const FIRST: Duration = Duration::from_millis(4500);

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
/// The operation's own failure, [`Failure::Unavailable`] or [`Failure::Interrupted`] naming the operation.
pub(crate) async fn follow(
    session: &Session,
    door: &Door,
    accepted: Operation,
) -> Result<Ended, Failure> {
    if accepted.done {
        return ended(accepted);
    }
    let name = accepted.name;
    tokio::select! {
        outcome = follow_on(session, door, &name) => outcome,
        signal = tokio::signal::ctrl_c() => {
            signal?;
            Err(Failure::Interrupted(goes_on(&name, "stopped watching")))
        }
    }
}

async fn follow_on(session: &Session, door: &Door, name: &str) -> Result<Ended, Failure> {
    let mut progress = Progress::new();
    // Until when there has to be news; without a time while there is a stream of them.
    let mut deadline = None;
    loop {
        match watch(door, name, &mut progress, &mut deadline).await? {
            Watched::Ended(operation) => return ended(operation),
            Watched::Broken(Some(status)) if !is_lost(&status) => {
                return Err(session.refused(status));
            }
            Watched::Broken(_) => {
                let until = *deadline.get_or_insert_with(|| Instant::now() + PATIENCE);
                if Instant::now() + PAUSE >= until {
                    return Err(Failure::Unavailable(goes_on(
                        name,
                        &format!("lost the server at {}", session.url()),
                    )));
                }
                sleep(PAUSE).await;
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
    /// With the operation.
    Ended(Operation),
    /// Before it: with a status, or without a word.
    Broken(Option<Status>),
}

/// Watches until the end or until the watch breaks. The first state has to come quickly, for it is sent at once; what
/// follows takes as long as it takes.
async fn watch(
    door: &Door,
    name: &str,
    progress: &mut Progress,
    deadline: &mut Option<Instant>,
) -> Result<Watched, Failure> {
    let until = deadline.unwrap_or_else(|| Instant::now() + FIRST);
    let first = async {
        let mut states: Streaming<Operation> = OperationServiceClient::new(door.clone())
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

/// The end of an operation.
///
/// # Errors
/// The operation's own failure.
pub(crate) fn ended(operation: Operation) -> Result<Ended, Failure> {
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
            Phase::Queued => match metadata.queue_position {
                Some(before) if before > 0 => format!("waiting in line: {before} before it"),
                _ => "waiting in line".to_owned(),
            },
            Phase::Waiting => format!(
                "trying again after {} tries: {}",
                metadata.attempt,
                clean(&metadata.last_error)
            ),
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
