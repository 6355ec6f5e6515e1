//! `hamlet instances revoke-tokens`.

use clap::Args;
use hamlet_proto::hamlet::instance::v1::{
    RevokeTokensRequest, instance_service_client::InstanceServiceClient,
};

use crate::{
    calls::instance_name,
    change::ChangeRequest,
    error::CommandError,
    flags::{global::GlobalFlags, target::Target},
    session::Session,
};

/// End all sessions and all tokens of an instance: of apps, konnectors, OAuth clients and the command line.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  hamlet instances revoke-tokens bob.localhost:8080")]
pub(crate) struct RevokeTokens {
    #[command(flatten)]
    target: Target,
}

impl RevokeTokens {
    pub(super) async fn run(self, global: &GlobalFlags) -> Result<(), CommandError> {
        let session = Session::find(global)?;
        let channel = session.channel().await?;
        let change = ChangeRequest::new(
            &session,
            &channel,
            global.output,
            "tokens",
            self.target.request,
        );
        let request = RevokeTokensRequest {
            name: instance_name(&self.target.domain),
            etag: self.target.condition.into_etag(),
            request_id: change.request_id.clone(),
            validate_only: change.dry_run,
        };
        change
            .make(async || {
                InstanceServiceClient::new(channel.clone())
                    .revoke_tokens(request.clone())
                    .await
            })
            .await
    }
}
