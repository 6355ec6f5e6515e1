//! `hamlet instances undelete`.

use clap::Args;
use hamlet_proto::hamlet::instance::v1::{
    UndeleteInstanceRequest, instance_service_client::InstanceServiceClient,
};

use crate::{
    calls::instance_name,
    change::ChangeRequest,
    error::CommandError,
    flags::{global::GlobalFlags, target::Target},
    session::Session,
};

/// Bring back an instance that was deleted softly.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  hamlet instances undelete bob.localhost:8080")]
pub(crate) struct Undelete {
    #[command(flatten)]
    target: Target,
}

impl Undelete {
    pub(super) async fn run(self, global: &GlobalFlags) -> Result<(), CommandError> {
        let session = Session::find(global)?;
        let channel = session.channel().await?;
        let change = ChangeRequest::new(
            &session,
            &channel,
            global.output,
            "undelete",
            self.target.request,
        );
        let request = UndeleteInstanceRequest {
            name: instance_name(&self.target.domain),
            etag: self.target.condition.into_etag(),
            request_id: change.request_id.clone(),
            validate_only: change.dry_run,
        };
        change
            .make(async || {
                InstanceServiceClient::new(channel.clone())
                    .undelete_instance(request.clone())
                    .await
            })
            .await
    }
}
