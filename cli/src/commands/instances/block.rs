//! `hamlet instances block` and `unblock`.

use hamlet_proto::hamlet::instance::v1::{
    BlockInstanceRequest, UnblockInstanceRequest, instance_service_client::InstanceServiceClient,
};

use super::name_of;
use crate::{
    args::{Format, Target},
    commands::change::Change,
    failure::Failure,
    session::Session,
};

pub(super) async fn block(
    session: &Session,
    format: Format,
    target: Target,
    reason: String,
) -> Result<(), Failure> {
    let door = session.door().await?;
    let change = Change::new(session, &door, format, "block", target.request);
    let request = BlockInstanceRequest {
        name: name_of(&target.domain),
        reason,
        etag: target.condition.into_etag(),
        request_id: change.request_id.clone(),
        validate_only: change.dry_run,
    };
    change
        .make(async || {
            InstanceServiceClient::new(door.clone())
                .block_instance(request.clone())
                .await
        })
        .await
}

pub(super) async fn unblock(
    session: &Session,
    format: Format,
    target: Target,
) -> Result<(), Failure> {
    let door = session.door().await?;
    let change = Change::new(session, &door, format, "unblock", target.request);
    let request = UnblockInstanceRequest {
        name: name_of(&target.domain),
        etag: target.condition.into_etag(),
        request_id: change.request_id.clone(),
        validate_only: change.dry_run,
    };
    change
        .make(async || {
            InstanceServiceClient::new(door.clone())
                .unblock_instance(request.clone())
                .await
        })
        .await
}
