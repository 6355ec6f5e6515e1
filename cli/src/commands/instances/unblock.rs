//! `hamlet instances unblock`.

use clap::Args;
use hamlet_proto::hamlet::instance::v1::{
    UnblockInstanceRequest, instance_service_client::InstanceServiceClient,
};

use crate::{
    calls::instance_name,
    change::ChangeRequest,
    error::CommandError,
    flags::{global::GlobalFlags, target::Target},
    session::Session,
};

/// Give access to an instance again.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  hamlet instances unblock bob.localhost:8080")]
pub(crate) struct Unblock {
    #[command(flatten)]
    target: Target,
}

impl Unblock {
    pub(super) async fn run(self, global: &GlobalFlags) -> Result<(), CommandError> {
        let session = Session::find(global)?;
        let channel = session.channel().await?;
        let change = ChangeRequest::new(
            &session,
            &channel,
            global.output,
            "unblock",
            self.target.request,
        );
        let request = UnblockInstanceRequest {
            name: instance_name(&self.target.domain),
            etag: self.target.condition.into_etag(),
            request_id: change.request_id.clone(),
            validate_only: change.dry_run,
        };
        change
            .make(async || {
                InstanceServiceClient::new(channel.clone())
                    .unblock_instance(request.clone())
                    .await
            })
            .await
    }
}
