//! `hamlet instances reset-link`.

use clap::Args;
use hamlet_proto::hamlet::instance::v1::{
    CreateResetLinkRequest, instance_service_client::InstanceServiceClient,
};

use crate::{
    calls::instance_name,
    change::ChangeRequest,
    error::CommandError,
    flags::{global::GlobalFlags, target::Target},
    session::Session,
};

/// Print a link by which an owner who has forgotten the passphrase chooses a new one. It is a secret.
///
/// It works once, for a day; a link made before stops working. What lies in the owner's password vault can no longer be read
/// once a new passphrase is chosen.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  hamlet instances reset-link bob.localhost:8080")]
pub(crate) struct ResetLink {
    #[command(flatten)]
    target: Target,
}

impl ResetLink {
    pub(super) async fn run(self, global: &GlobalFlags) -> Result<(), CommandError> {
        let session = Session::find(global)?;
        let channel = session.channel().await?;
        let change = ChangeRequest::new(
            &session,
            &channel,
            global.output,
            "reset-link",
            self.target.request,
        );
        let request = CreateResetLinkRequest {
            name: instance_name(&self.target.domain),
            etag: self.target.condition.into_etag(),
            request_id: change.request_id.clone(),
            validate_only: change.dry_run,
        };
        change
            .make(async || {
                InstanceServiceClient::new(channel.clone())
                    .create_reset_link(request.clone())
                    .await
            })
            .await
    }
}
