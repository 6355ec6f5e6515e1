//! `hamlet instances register-link`.

use hamlet_proto::hamlet::instance::v1::{
    GetRegisterLinkRequest, RotateRegisterLinkRequest,
    instance_service_client::InstanceServiceClient,
};

use super::name_of;
use crate::{
    args::{Format, Target},
    commands::{change::Change, outcome},
    failure::Failure,
    session::Session,
};

pub(super) async fn run(
    session: &Session,
    format: Format,
    target: Target,
    rotate: bool,
) -> Result<(), Failure> {
    if rotate {
        return renew(session, format, target).await;
    }
    target.condition.refuse_without("--rotate")?;
    target.request.refuse_without("--rotate")?;
    let door = session.door().await?;
    let request = GetRegisterLinkRequest {
        name: name_of(&target.domain),
    };
    let link = session
        .ask(async || {
            InstanceServiceClient::new(door.clone())
                .get_register_link(request.clone())
                .await
        })
        .await?;
    outcome::print_link(format, &link)
}

async fn renew(session: &Session, format: Format, target: Target) -> Result<(), Failure> {
    let door = session.door().await?;
    let change = Change::new(session, &door, format, "register-link", target.request);
    let request = RotateRegisterLinkRequest {
        name: name_of(&target.domain),
        etag: target.condition.into_etag(),
        request_id: change.request_id.clone(),
        validate_only: change.dry_run,
    };
    change
        .make(async || {
            InstanceServiceClient::new(door.clone())
                .rotate_register_link(request.clone())
                .await
        })
        .await
}
