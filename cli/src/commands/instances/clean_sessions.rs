//! `hamlet instances clean-sessions`.

use clap::Args;
use hamlet_proto::hamlet::instance::v1::{
    CleanSessionsRequest, instance_service_client::InstanceServiceClient,
};

use crate::{
    calls::instance_name,
    change::ChangeRequest,
    error::CommandError,
    flags::{global::GlobalFlags, request::RequestFlags},
    session::Session,
    values,
};

/// End all sessions and forget all logins of an instance.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  hamlet instances clean-sessions bob.localhost:8080")]
pub(crate) struct CleanSessions {
    /// The domain or an alias.
    #[arg(value_parser = values::domain::parse)]
    domain: String,
    #[command(flatten)]
    request: RequestFlags,
}

impl CleanSessions {
    pub(super) async fn run(self, global: &GlobalFlags) -> Result<(), CommandError> {
        let session = Session::find(global)?;
        let channel = session.channel().await?;
        let change =
            ChangeRequest::new(&session, &channel, global.output, "sessions", self.request);
        let request = CleanSessionsRequest {
            name: instance_name(&self.domain),
            request_id: change.request_id.clone(),
            validate_only: change.dry_run,
        };
        change
            .make(async || {
                InstanceServiceClient::new(channel.clone())
                    .clean_sessions(request.clone())
                    .await
            })
            .await
    }
}
