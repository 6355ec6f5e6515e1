//! `hamlet operations`.

use hamlet_proto::{
    google::longrunning::{
        GetOperationRequest, ListOperationsRequest, Operation, operation,
        operations_client::OperationsClient,
    },
    hamlet::instance::v1::{
        CreateInstanceResult, DeleteInstanceResult, OperationMetadata, operation_metadata::Phase,
        step,
    },
    unpack,
};

use super::{add, destroy};
use crate::{
    args::{Format, Operations},
    failure::Failure,
    operation::{Ended, follow},
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
        Operations::Ls => ls(session, format).await,
        Operations::Show { operation } => {
            let operation = get(session, operation).await?;
            show(format, &operation)
        }
        Operations::Wait { operation } => {
            let operation = get(session, operation).await?;
            let ended = follow(session, &session.door().await?, operation).await?;
            finish(format, &ended)
        }
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

/// Prints what came of an operation, as the command that began it would have.
fn finish(format: Format, ended: &Ended) -> Result<(), Failure> {
    if let Some(result) = unpack::<CreateInstanceResult>(&ended.response)? {
        return add::finish(format, &result);
    }
    if let Some(result) = unpack::<DeleteInstanceResult>(&ended.response)? {
        return destroy::finish(format, &result);
    }
    show(format, &ended.operation)
}

async fn ls(session: &Session, format: Format) -> Result<(), Failure> {
    let door = session.door().await?;
    let mut list = List::new(format, &["operation", "kind", "domain", "phase", "step"]);
    let mut page_token = String::new();
    loop {
        let request = ListOperationsRequest {
            page_size: PAGE,
            page_token,
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
            list.push(operation, &operation.name, || {
                vec![
                    operation.name.clone(),
                    metadata.kind.clone(),
                    metadata.domain.clone(),
                    phase(operation, &metadata),
                    current_step(&metadata),
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

fn show(format: Format, operation: &Operation) -> Result<(), Failure> {
    let metadata = metadata(operation)?;
    output::one(format, operation, &operation.name, || {
        facts(&[
            ("operation", operation.name.clone()),
            ("kind", metadata.kind.clone()),
            ("domain", metadata.domain.clone()),
            ("phase", phase(operation, &metadata)),
            ("step", current_step(&metadata)),
            ("last error", metadata.last_error.clone()),
        ])
    })
}

fn metadata(operation: &Operation) -> Result<OperationMetadata, Failure> {
    Ok(match &operation.metadata {
        Some(metadata) => unpack(metadata)?.unwrap_or_default(),
        None => OperationMetadata::default(),
    })
}

fn phase(operation: &Operation, metadata: &OperationMetadata) -> String {
    let word = match (&operation.result, metadata.phase()) {
        (Some(operation::Result::Error(_)), _) => "failed",
        (Some(operation::Result::Response(_)), _) => "done",
        (None, Phase::Queued) => "queued",
        (None, Phase::Waiting) => "waiting",
        (None, Phase::Unwinding) => "unwinding",
        (None, _) => "running",
    };
    word.to_owned()
}

fn current_step(metadata: &OperationMetadata) -> String {
    metadata
        .steps
        .iter()
        .find(|step| step.state() == step::State::Running)
        .map(|step| step.name.clone())
        .unwrap_or_default()
}
