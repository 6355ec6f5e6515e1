//! Changes of an instance: converting requests and responses.

use std::time::Duration;

use hamlet_proto::{
    google::longrunning,
    hamlet::instance::v1::{
        self as pb, CleanSessionsResult, DeleteInstanceResult, Instance, RegisterLink, ResetLink,
        UpdateInstanceRequest,
    },
};
use service_kit::status;
use tonic::Status;

use super::Shared;
use crate::{
    actions::request::{Answer, change::ChangePreview},
    domain::{
        change::{Change, ChangeKind},
        fields::Asked,
        record::Record,
        spec::InvalidField,
    },
    error::Error,
    messages,
    operations::engine::Detail,
    store::Found,
};

/// The values that an update requests, and what of its mask cannot be used.
pub(super) fn update(
    request: UpdateInstanceRequest,
) -> Result<(Change, Vec<InvalidField>), Status> {
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
    let (asked, wrong) = Asked::by_mask(&instance, &mask.paths);
    let change = Change {
        kind: ChangeKind::Update,
        etag: instance.etag.clone(),
        asked,
        ..Change::default()
    };
    Ok((change, wrong))
}

/// The refusal of an update of which something is known to be wrong already, with all else that is wrong.
pub(super) fn refused(change: Change, found: &Found, mut wrong: Vec<InvalidField>) -> Error {
    let unrecorded = Record::default();
    let record = found.record.as_ref().map_or(&unrecorded, |it| &it.body);
    if let Err(more) = change.check(&found.document.body, record) {
        wrong.extend(more);
    }
    wrong.into()
}

/// The change that blocks access. Without a reason, the one that is there stays.
pub(super) fn block(request: &pb::BlockInstanceRequest) -> Change {
    let blocked = Asked::default().with("blocked", true);
    Change {
        kind: ChangeKind::Block,
        etag: request.etag.clone(),
        asked: match request.reason.as_str() {
            "" => blocked,
            reason => blocked.with("blocking_reason", reason),
        },
        ..Change::default()
    }
}

/// The change that unblocks access.
pub(super) fn unblock(request: &pb::UnblockInstanceRequest) -> Change {
    Change {
        kind: ChangeKind::Unblock,
        etag: request.etag.clone(),
        asked: Asked::default().with("blocked", false),
        ..Change::default()
    }
}

/// How long a softly deleted instance is kept; `None` when it is to be destroyed at once.
pub(super) fn keep(keep: Option<&prost_types::Duration>) -> Result<Option<Duration>, Status> {
    let keep = keep.copied().unwrap_or_default();
    let keep = Duration::try_from(keep)
        .map_err(|_| status::invalid_field("keep", "is negative; use a time such as 30 days"))?;
    Ok((!keep.is_zero()).then_some(keep))
}

/// The response to a request for a change.
pub(super) async fn answer(
    shared: &Shared,
    kind: ChangeKind,
    answer: Answer<ChangePreview>,
) -> Result<longrunning::Operation, Error> {
    let ChangePreview {
        found,
        change,
        unchanged,
        warnings,
    } = match answer {
        Answer::Accepted { id, operation } => {
            return super::operations::show(shared, &id, &operation, Detail::Whole).await;
        }
        Answer::Preview(preview) => preview,
    };
    let domain = found.document.body.domain.clone();
    Ok(match kind {
        ChangeKind::Delete => messages::checked(&DeleteInstanceResult {
            domain,
            purge_time: found
                .record
                .as_ref()
                .and_then(|record| record.body.purge_at)
                .map(messages::timestamp),
            ..DeleteInstanceResult::default()
        }),
        ChangeKind::Sessions => messages::checked(&CleanSessionsResult {
            domain,
            ..CleanSessionsResult::default()
        }),
        ChangeKind::ResetLink => messages::checked(&ResetLink::default()),
        // The preview has no link: the token is not drawn yet.
        ChangeKind::RegisterLink => messages::checked(&RegisterLink::default()),
        ChangeKind::Passphrase => messages::checked(&Instance {
            onboarding_finished: true,
            password_defined: Some(true),
            ..not_changed_yet(&found)
        }),
        ChangeKind::Update
        | ChangeKind::Block
        | ChangeKind::Unblock
        | ChangeKind::Undelete
        | ChangeKind::Tokens => {
            messages::checked_change(&not_changed_yet(&found), &change, unchanged, warnings)
        }
    })
}

/// The instance as it would be after the change, without an etag.
fn not_changed_yet(found: &Found) -> Instance {
    Instance {
        etag: String::new(),
        ..messages::instance(found)
    }
}
