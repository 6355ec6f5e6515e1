//! `hamlet operations`.

use hamlet_proto::{
    google::longrunning::{
        CancelOperationRequest, GetOperationRequest, ListOperationsRequest, Operation, operation,
        operations_client::OperationsClient,
    },
    hamlet::instance::v1::{
        CreateInstanceResult, OperationMetadata, RegisterLink, RetryOperationRequest, Step,
        operation_metadata::Phase, operation_service_client::OperationServiceClient, step,
    },
    pack, unpack,
};
use prost_types::Duration;

use super::outcome;
use crate::{
    args::{Format, Operations},
    failure::Failure,
    operation::follow,
    output::{self, List},
    session::Session,
    table::facts,
};

const PAGE: i32 = 200;

pub(super) async fn run(
    session: &Session,
    format: Format,
    command: Operations,
) -> Result<(), Failure> {
    match command {
        Operations::Ls { running } => ls(session, format, running).await,
        Operations::Show { operation } => show(format, &get(session, operation).await?),
        Operations::Wait { operation } => {
            let operation = get(session, operation).await?;
            let ended = follow(session, &session.door().await?, operation).await?;
            outcome::print(format, &ended)
        }
        Operations::Cancel { operation } => cancel(session, format, operation).await,
        Operations::Retry { operation } => retry(session, format, operation).await,
    }
}

async fn get(session: &Session, name: String) -> Result<Operation, Failure> {
    let door = session.door().await?;
    let request = GetOperationRequest { name };
    session
        .ask(async || {
            OperationsClient::new(door.clone())
                .get_operation(request.clone())
                .await
        })
        .await
}

async fn cancel(session: &Session, format: Format, name: String) -> Result<(), Failure> {
    let door = session.door().await?;
    let request = CancelOperationRequest { name: name.clone() };
    session
        .ask(async || {
            OperationsClient::new(door.clone())
                .cancel_operation(request.clone())
                .await
        })
        .await?;
    show(format, &get(session, name).await?)
}

async fn retry(session: &Session, format: Format, name: String) -> Result<(), Failure> {
    let door = session.door().await?;
    let request = RetryOperationRequest { name };
    let operation = session
        .ask(async || {
            OperationServiceClient::new(door.clone())
                .retry_operation(request.clone())
                .await
        })
        .await?;
    show(format, &operation)
}

async fn ls(session: &Session, format: Format, running: bool) -> Result<(), Failure> {
    let door = session.door().await?;
    let columns = [
        "operation",
        "kind",
        "domain",
        "phase",
        "line",
        "step",
        "tries",
        "last error",
    ];
    let mut list = List::new(format, &columns);
    let mut page_token = String::new();
    loop {
        let request = ListOperationsRequest {
            page_size: PAGE,
            page_token,
            filter: if running { "done=false" } else { "" }.to_owned(),
            ..ListOperationsRequest::default()
        };
        let page = session
            .ask(async || {
                OperationsClient::new(door.clone())
                    .list_operations(request.clone())
                    .await
            })
            .await?;
        for operation in &page.operations {
            let metadata = metadata(operation)?;
            list.push(&without_secrets(operation)?, &operation.name, || {
                vec![
                    operation.name.clone(),
                    metadata.kind.clone(),
                    metadata.domain.clone(),
                    phase(operation, &metadata).to_owned(),
                    number(metadata.queue_position),
                    current_step(&metadata),
                    tries(operation, &metadata),
                    last_error(operation, &metadata),
                ]
            })?;
        }
        list.flush()?;
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(());
        }
    }
}

/// Prints an operation, whatever it is.
///
/// # Errors
/// When it cannot be printed.
pub(super) fn show(format: Format, operation: &Operation) -> Result<(), Failure> {
    let metadata = metadata(operation)?;
    let shown = without_secrets(operation)?;
    output::one(format, &shown, &operation.name, || {
        let mut known = vec![
            ("operation", operation.name.clone()),
            ("kind", metadata.kind.clone()),
            ("domain", metadata.domain.clone()),
            ("phase", phase(operation, &metadata).to_owned()),
            ("in line before it", number(metadata.queue_position)),
        ];
        known.extend(metadata.steps.iter().map(|step| ("step", describe(step))));
        let time = |time: &Option<prost_types::Timestamp>| {
            time.as_ref().map(ToString::to_string).unwrap_or_default()
        };
        let asked = if metadata.cancel_requested {
            "asked for"
        } else if metadata.cancellable && !operation.done {
            "possible"
        } else {
            ""
        };
        known.extend([
            ("tries", tries(operation, &metadata)),
            ("last error", last_error(operation, &metadata)),
            ("next try", time(&metadata.next_try_time)),
            ("cancelling", asked.to_owned()),
            ("accepted", time(&metadata.create_time)),
            ("changed", time(&metadata.update_time)),
        ]);
        facts(&known)
    })
}

/// An operation without what opens the instance: who looks at operations did not ask for it. `wait` prints what the
/// command that began it printed.
fn without_secrets(operation: &Operation) -> Result<Operation, Failure> {
    let mut shown = operation.clone();
    let Some(operation::Result::Response(response)) = &mut shown.result else {
        return Ok(shown);
    };
    if let Some(mut result) = unpack::<CreateInstanceResult>(response)? {
        result.register_link.clear();
        result.register_token.clear();
        *response = pack(&result);
    } else if let Some(mut link) = unpack::<RegisterLink>(response)? {
        link.link.clear();
        link.token.clear();
        *response = pack(&link);
    }
    Ok(shown)
}

fn describe(step: &Step) -> String {
    let state = match step.state() {
        step::State::Unspecified => "unknown",
        step::State::Pending => "to come",
        step::State::Running => "at work",
        step::State::Done => "done",
        step::State::Undone => "taken back",
    };
    match &step.duration {
        Some(took) => format!("{}: {state}, {} ms", step.name, milliseconds(took)),
        None => format!("{}: {state}", step.name),
    }
}

/// A span of time in milliseconds.
pub(super) fn milliseconds(span: &Duration) -> i64 {
    span.seconds * 1000 + i64::from(span.nanos) / 1_000_000
}

fn metadata(operation: &Operation) -> Result<OperationMetadata, Failure> {
    Ok(match &operation.metadata {
        Some(metadata) => unpack(metadata)?.unwrap_or_default(),
        None => OperationMetadata::default(),
    })
}

fn phase(operation: &Operation, metadata: &OperationMetadata) -> &'static str {
    match (&operation.result, metadata.phase()) {
        (Some(operation::Result::Error(_)), _) => "failed",
        (Some(operation::Result::Response(_)), _) => "done",
        (None, Phase::Queued) => "queued",
        (None, Phase::Waiting) => "waiting",
        (None, Phase::Unwinding) => "unwinding",
        (None, _) => "running",
    }
}

fn current_step(metadata: &OperationMetadata) -> String {
    metadata
        .steps
        .iter()
        .find(|step| step.state() == step::State::Running)
        .map(|step| step.name.clone())
        .unwrap_or_default()
}

/// Why it failed, or why its last try did.
fn last_error(operation: &Operation, metadata: &OperationMetadata) -> String {
    match &operation.result {
        Some(operation::Result::Error(error)) => error.message.clone(),
        Some(operation::Result::Response(_)) => String::new(),
        None => metadata.last_error.clone(),
    }
}

/// How often the step at work was tried; nothing once none is.
fn tries(operation: &Operation, metadata: &OperationMetadata) -> String {
    number(Some(metadata.attempt).filter(|tries| *tries > 0 && !operation.done))
}

fn number(number: Option<i32>) -> String {
    number.map(|number| number.to_string()).unwrap_or_default()
}
