//! `hamlet instances block`.

use clap::Args;
use hamlet_proto::hamlet::instance::v1::{
    BlockInstanceRequest, instance_service_client::InstanceServiceClient,
};

use crate::{
    calls::instance_name,
    change::ChangeRequest,
    error::CommandError,
    flags::{global::GlobalFlags, target::Target},
    session::Session,
    values,
};

/// Refuse access to an instance, with a reason.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  hamlet instances block bob.localhost:8080 --reason PAYMENT_FAILED\n  hamlet instances block bob.localhost:8080 --reason Unpaid"
)]
pub(crate) struct Block {
    #[command(flatten)]
    target: Target,
    /// LOGIN_FAILED, PAYMENT_FAILED, UNKNOWN, another code of capital letters for programs, or a text that the owner sees.
    /// Without it the reason that is there stays, or is UNKNOWN.
    #[arg(long, value_parser = values::names::not_empty)]
    reason: Option<String>,
}

impl Block {
    pub(super) async fn run(self, global: &GlobalFlags) -> Result<(), CommandError> {
        let session = Session::find(global)?;
        let channel = session.channel().await?;
        let change = ChangeRequest::new(
            &session,
            &channel,
            global.output,
            "block",
            self.target.request,
        );
        let request = BlockInstanceRequest {
            name: instance_name(&self.target.domain),
            reason: self.reason.unwrap_or_default(),
            etag: self.target.condition.into_etag(),
            request_id: change.request_id.clone(),
            validate_only: change.dry_run,
        };
        change
            .make(async || {
                InstanceServiceClient::new(channel.clone())
                    .block_instance(request.clone())
                    .await
            })
            .await
    }
}
