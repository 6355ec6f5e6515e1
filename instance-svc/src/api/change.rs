//! Changes of an instance: what is asked, and what came of it.

use std::time::Duration;

use hamlet_proto::{
    google::longrunning,
    hamlet::instance::v1::{
        self as pb, CleanSessionsResult, DeleteInstanceResult, Instance, UpdateInstanceRequest,
    },
    pack,
};
use service_kit::status;
use tonic::Status;

use super::{Shared, convert, passphrase};
use crate::{
    actions::{
        find::{self, Found},
        request_change::Answer,
    },
    config::Config,
    domain::{
        change::{Change, ChangeKind},
        claim::Kind,
        fields::Asked,
        operation::{Operation, Phase},
    },
    error::Error,
};

/// What an update asks.
pub(super) fn update(request: UpdateInstanceRequest) -> Result<Change, Status> {
    let instance = request
        .instance
        .ok_or_else(|| status::invalid_field("instance", "is missing; give at least its name"))?;
    let mask = request.update_mask.unwrap_or_default();
    if mask.paths.is_empty() {
        return Err(status::invalid_field(
            "update_mask",
            "names no field; name each that is to change, such as email or settings.offer",
        ));
    }
    Ok(Change {
        kind: ChangeKind::Update,
        etag: instance.etag.clone(),
        asked: Asked::by_mask(&instance, &mask.paths).map_err(Error::from)?,
        ..Change::default()
    })
}

/// A change that refuses access.
pub(super) fn block(request: &pb::BlockInstanceRequest) -> Change {
    Change {
        kind: ChangeKind::Block,
        etag: request.etag.clone(),
        asked: Asked::default()
            .with("blocked", true)
            .with("blocking_reason", request.reason.as_str()),
        ..Change::default()
    }
}

/// A change that gives access again.
pub(super) fn unblock(request: &pb::UnblockInstanceRequest) -> Change {
    Change {
        kind: ChangeKind::Unblock,
        etag: request.etag.clone(),
        asked: Asked::default().with("blocked", false),
        ..Change::default()
    }
}

/// How long an instance is kept that is deleted softly; `None` when it is destroyed at once.
pub(super) fn keep(keep: Option<&prost_types::Duration>) -> Result<Option<Duration>, Status> {
    let keep = keep.copied().unwrap_or_default();
    let keep = Duration::try_from(keep)
        .map_err(|_| status::invalid_field("keep", "is negative; use a time such as 30 days"))?;
    Ok((!keep.is_zero()).then_some(keep))
}

/// What a request for a change is answered with.
pub(super) async fn answer(
    shared: &Shared,
    answer: Answer,
) -> Result<longrunning::Operation, Error> {
    match answer {
        Answer::Accepted { id, operation } => {
            super::operations::show(shared, &id, &operation).await
        }
        Answer::Valid {
            found,
            kind: ChangeKind::Delete,
        } => Ok(convert::checked(&DeleteInstanceResult {
            domain: found.document.body.domain.clone(),
            purge_time: found
                .record
                .as_ref()
                .and_then(|record| record.body.purge_at.as_deref())
                .and_then(convert::timestamp),
            ..DeleteInstanceResult::default()
        })),
        Answer::Valid { found, .. } => Ok(convert::checked(&Instance {
            // It has not changed yet.
            etag: String::new(),
            ..convert::instance(&found)
        })),
    }
}

/// A change as callers see it. Its result is read now: the instance, with the etag that the next request
/// needs.
pub(super) async fn show(
    shared: &Shared,
    id: &str,
    operation: &Operation,
    change: &Change,
) -> Result<longrunning::Operation, Error> {
    let mut shown = convert::operation(id, operation, None, None);
    if operation.phase == Phase::Succeeded {
        let found = find::by_id(&shared.store, &operation.instance, Kind::Domain).await?;
        shown.result = Some(longrunning::operation::Result::Response(response(
            &shared.config,
            operation,
            change,
            found.as_ref(),
        )));
    }
    Ok(shown)
}

fn response(
    config: &Config,
    operation: &Operation,
    change: &Change,
    found: Option<&Found>,
) -> prost_types::Any {
    match change.kind {
        // A link is stored in no result: whoever asks later gets the one that is valid then.
        ChangeKind::RegisterLink => pack(
            &found
                .and_then(|found| passphrase::link_of(config, found))
                .unwrap_or_default(),
        ),
        ChangeKind::Sessions => pack(&CleanSessionsResult {
            domain: operation.domain.clone(),
            removed: convert::removed(&operation.removed)
                .into_iter()
                .filter(|removed| removed.kind == "databases")
                .collect(),
        }),
        ChangeKind::Delete => pack(&DeleteInstanceResult {
            domain: operation.domain.clone(),
            purge_time: change.record.purge_at().and_then(convert::timestamp),
            ..DeleteInstanceResult::default()
        }),
        // Destroyed since, all that is left of it is its name.
        _ => pack(&found.map_or_else(
            || Instance {
                name: format!("instances/{}", operation.domain),
                domain: operation.domain.clone(),
                ..Instance::default()
            },
            convert::instance,
        )),
    }
}
