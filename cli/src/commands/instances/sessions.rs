//! `hamlet instances clean-sessions`.

use hamlet_proto::hamlet::instance::v1::{
    CleanSessionsRequest, instance_service_client::InstanceServiceClient,
};

use super::name_of;
use crate::{
    args::{Format, Request},
    commands::change::Change,
    failure::Failure,
    session::Session,
};

pub(super) async fn clean(
    session: &Session,
    format: Format,
    domain: &str,
    request: Request,
) -> Result<(), Failure> {
    let door = session.door().await?;
    let change = Change::new(session, &door, format, "sessions", request);
    let request = CleanSessionsRequest {
        name: name_of(domain),
        request_id: change.request_id.clone(),
        validate_only: change.dry_run,
    };
    change
        .make(async || {
            InstanceServiceClient::new(door.clone())
                .clean_sessions(request.clone())
                .await
        })
        .await
}
