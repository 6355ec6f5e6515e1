//! Operations as messages: their names, their metadata, and the results of calls that only check.

use hamlet_proto::{
    google::{longrunning, rpc},
    hamlet::instance::v1::{self as pb, OperationMetadata, operation_metadata},
    pack,
};
use prost::Message as _;
use prost_types::Any;
use service_kit::status;
use tonic::Code;

use super::timestamp;
use crate::{
    domain::{change::Change, operation::Phase, spec::InvalidField},
    operations::{Operation, Work, create::APPS_STEP},
};

/// The length of an operation's id, in characters.
pub(crate) const OPERATION_ID_LENGTH: usize = 32;

/// The id in the name of an operation.
///
/// # Errors
/// When the name has another form.
pub(crate) fn operation_id(name: &str) -> Result<String, InvalidField> {
    match name.strip_prefix("operations/") {
        Some(id) if !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
            Ok(id.to_owned())
        }
        _ => Err(InvalidField {
            field: "name".to_owned(),
            wrong: "is no name of an operation; it looks like operations/0123456789abcdef"
                .to_owned(),
        }),
    }
}

/// An operation as a message. `position` is its position in the queue while it waits; `response` is the
/// response of an operation that succeeded.
pub(crate) fn operation(
    id: &str,
    operation: &Operation,
    position: Option<usize>,
    response: Option<Any>,
) -> longrunning::Operation {
    let result = match operation.phase {
        Phase::Queued | Phase::Running | Phase::Unwinding => None,
        Phase::Failed => Some(longrunning::operation::Result::Error(failure(operation))),
        Phase::Succeeded => response.map(longrunning::operation::Result::Response),
    };
    longrunning::Operation {
        name: format!("operations/{id}"),
        metadata: Some(pack(&metadata(operation, position))),
        done: operation.phase.is_end(),
        result,
    }
}

fn failure(operation: &Operation) -> rpc::Status {
    let (code, reason, message) = operation.error.as_ref().map_or_else(
        || {
            let message = "the operation failed for a reason that was not kept".to_owned();
            (Code::Unknown, String::new(), message)
        },
        |error| {
            (
                Code::from_i32(error.code),
                error.reason.clone(),
                error.message.clone(),
            )
        },
    );
    let status = status::StatusBuilder::new(code, &reason, message).build();
    // The details of a tonic status are an encoded google.rpc.Status already.
    rpc::Status::decode(status.details()).unwrap_or_else(|_| rpc::Status {
        code: status.code() as i32,
        message: status.message().to_owned(),
        details: Vec::<Any>::new(),
    })
}

fn metadata(operation: &Operation, position: Option<usize>) -> OperationMetadata {
    let waiting = operation.next_try.is_some();
    let phase = match operation.phase {
        Phase::Queued => operation_metadata::Phase::Queued,
        Phase::Running if waiting => operation_metadata::Phase::Waiting,
        Phase::Running => operation_metadata::Phase::Running,
        Phase::Unwinding => operation_metadata::Phase::Unwinding,
        Phase::Succeeded | Phase::Failed => operation_metadata::Phase::Done,
    };
    OperationMetadata {
        kind: operation.kind().to_owned(),
        domain: operation.domain.clone(),
        phase: phase.into(),
        steps: steps(operation),
        attempt: i32::try_from(operation.attempt).unwrap_or(i32::MAX),
        create_time: Some(timestamp(operation.created_at)),
        update_time: Some(timestamp(operation.updated_at)),
        next_try_time: operation.next_try.map(timestamp),
        last_error: operation
            .error
            .as_ref()
            .map(|error| error.message.clone())
            .unwrap_or_default(),
        queue_position: position.and_then(|position| i32::try_from(position).ok()),
        cancel_requested: operation.cancel_requested,
        cancellable: operation.phase != Phase::Unwinding && operation.refuses_cancel().is_none(),
        warnings: operation.warnings.clone(),
        end_time: operation.ended_at.map(timestamp),
        changed_fields: match &operation.work {
            Work::Change(work) => work.change.asked.paths(),
            Work::Create(_) | Work::Destroy(_) | Work::PurgeOrphans(_) | Work::Relay(_) => {
                Vec::new()
            }
        },
        unchanged_fields: match &operation.work {
            Work::Change(work) => work.unchanged.clone(),
            Work::Create(_) | Work::Destroy(_) | Work::PurgeOrphans(_) | Work::Relay(_) => {
                Vec::new()
            }
        },
    }
}

/// What a step works on.
fn detail(operation: &Operation, step: &str) -> String {
    match &operation.work {
        Work::Create(work) if step == APPS_STEP => work.spec.apps.join(", "),
        Work::Relay(work) => work.route.clone(),
        Work::Create(_) | Work::Destroy(_) | Work::Change(_) | Work::PurgeOrphans(_) => {
            String::new()
        }
    }
}

fn steps(operation: &Operation) -> Vec<pb::Step> {
    operation
        .steps()
        .enumerate()
        .map(|(position, step)| {
            let state = match operation.phase {
                Phase::Unwinding | Phase::Failed
                    if position >= operation.reached && operation.reached > 0 =>
                {
                    pb::step::State::Pending
                }
                Phase::Unwinding | Phase::Failed if position >= operation.step => {
                    pb::step::State::Undone
                }
                _ if position < operation.step => pb::step::State::Done,
                Phase::Running if position == operation.step => pb::step::State::Running,
                _ => pb::step::State::Pending,
            };
            let duration = operation
                .durations
                .iter()
                .rev()
                .find(|(name, _)| name == step.name)
                .and_then(|(_, ms)| {
                    prost_types::Duration::try_from(std::time::Duration::from_millis(*ms)).ok()
                });
            pb::Step {
                name: step.name.to_owned(),
                state: state.into(),
                duration,
                detail: detail(operation, step.name),
            }
        })
        .collect()
}

/// The result of a validate-only call: an ended operation without a name.
pub(crate) fn checked<M: prost::Message + prost::Name>(response: &M) -> longrunning::Operation {
    longrunning::Operation {
        name: String::new(),
        metadata: None,
        done: true,
        result: Some(longrunning::operation::Result::Response(pack(response))),
    }
}

/// As [`checked`], for a change: with the fields that it would set, those of them that are so already, and warnings.
pub(crate) fn checked_change<M: prost::Message + prost::Name>(
    response: &M,
    change: &Change,
    unchanged: Vec<String>,
    warnings: Vec<String>,
) -> longrunning::Operation {
    let metadata = OperationMetadata {
        kind: change.kind.name().to_owned(),
        warnings,
        changed_fields: change.asked.paths(),
        unchanged_fields: unchanged,
        ..OperationMetadata::default()
    };
    longrunning::Operation {
        metadata: Some(pack(&metadata)),
        ..checked(response)
    }
}
