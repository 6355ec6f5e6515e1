//! An operation: as a whole, and as a row of a list.

use std::io::{self, IsTerminal as _};

use hamlet_proto::{
    google::longrunning::{Operation, operation},
    hamlet::instance::v1::{
        CreateInstanceResult, OperationMetadata, RegisterLink, Step, operation_metadata::Phase,
        step,
    },
    pack, unpack,
};
use prost_types::{Duration, Timestamp};

use crate::{
    error::CommandError,
    flags::format::Format,
    output::{self, ListPrinter, table::facts, time},
};

/// The columns of a list of operations.
pub(crate) const COLUMNS: [&str; 8] = [
    "operation",
    "kind",
    "domain",
    "phase",
    "accepted",
    "took",
    "step",
    "last error",
];

/// How much of an id a list shows: all commands take the beginning of one.
const SHORT_ID: usize = 12;

/// The id of an operation, and at a terminal its beginning.
fn id(operation: &Operation, format: Format) -> String {
    let id = operation
        .name
        .strip_prefix("operations/")
        .unwrap_or(&operation.name);
    if format.is_table() && io::stdout().is_terminal() {
        id.chars().take(SHORT_ID).collect()
    } else {
        id.to_owned()
    }
}

/// Adds an operation to a list with [`COLUMNS`].
pub(crate) fn push(
    list: &mut ListPrinter,
    operation: &Operation,
    format: Format,
) -> Result<(), CommandError> {
    let metadata = metadata(operation)?;
    list.push(&without_secrets(operation)?, &operation.name, || {
        vec![
            id(operation, format),
            metadata.kind.clone(),
            metadata.domain.clone(),
            phase(operation, &metadata).to_owned(),
            time::age(metadata.create_time.as_ref(), format),
            time::took(metadata.create_time.as_ref(), metadata.end_time.as_ref()),
            where_it_is(operation, &metadata),
            last_error(operation, &metadata),
        ]
    })
}

/// Prints an operation with its steps and its last error.
pub(crate) fn print(format: Format, operation: &Operation) -> Result<(), CommandError> {
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
        known.extend(
            metadata
                .steps
                .iter()
                .map(|step| ("step", describe(step, operation.done))),
        );
        let time = |time: &Option<Timestamp>| time::moment(time.as_ref());
        let took = time::took(metadata.create_time.as_ref(), metadata.end_time.as_ref());
        let cancelling = if metadata.cancel_requested {
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
            ("cancelling", cancelling.to_owned()),
            ("sets", metadata.changed_fields.join(", ")),
            ("was so before", metadata.unchanged_fields.join(", ")),
            ("accepted", time(&metadata.create_time)),
            ("changed", time(&metadata.update_time)),
            ("ended", time(&metadata.end_time)),
            ("took", took),
        ]);
        let warnings = metadata.warnings.iter();
        known.extend(warnings.map(|warning| ("warning", warning.clone())));
        facts(&known)
    })
}

/// An operation without register links and tokens: a list of operations must not give access to instances.
/// `operations wait` prints them, as the command that began the operation does.
fn without_secrets(operation: &Operation) -> Result<Operation, CommandError> {
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

fn describe(step: &Step, has_ended: bool) -> String {
    let state = match step.state() {
        step::State::Unspecified => "unknown",
        step::State::Pending if has_ended => "never begun",
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

/// A duration in whole milliseconds.
pub(super) fn milliseconds(duration: &Duration) -> i64 {
    duration.seconds * 1000 + i64::from(duration.nanos) / 1_000_000
}

/// The metadata of an operation; empty when it has none, or some of another type.
pub(super) fn metadata(operation: &Operation) -> Result<OperationMetadata, CommandError> {
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

/// The step at work with its tries, or the place in the line.
fn where_it_is(operation: &Operation, metadata: &OperationMetadata) -> String {
    if let Some(before) = metadata.queue_position {
        return format!("{before} before it");
    }
    match (current_step(metadata), tries(operation, metadata)) {
        (step, tries) if tries.is_empty() || step.is_empty() => step,
        (step, tries) => format!("{step} (try {tries})"),
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

/// Why it failed, or why its last try failed.
fn last_error(operation: &Operation, metadata: &OperationMetadata) -> String {
    match &operation.result {
        Some(operation::Result::Error(error)) => error.message.clone(),
        Some(operation::Result::Response(_)) => String::new(),
        None => metadata.last_error.clone(),
    }
}

/// How often the running step was tried; empty when none is running.
fn tries(operation: &Operation, metadata: &OperationMetadata) -> String {
    number(Some(metadata.attempt).filter(|tries| *tries > 0 && !operation.done))
}

fn number(number: Option<i32>) -> String {
    number.map(|number| number.to_string()).unwrap_or_default()
}
