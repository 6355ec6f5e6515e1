//! `hamlet instances count`.

use clap::Args;
use hamlet_proto::hamlet::instance::v1::{
    CountInstancesRequest, instance_service_client::InstanceServiceClient,
};

use crate::{error::CommandError, flags::global::GlobalFlags, output, session::Session};

/// Count all instances.
///
/// Instances that are being created or destroyed and instances that were deleted softly count too. `instances ls` lists the latter
/// with --deleted only.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  hamlet instances count")]
pub(crate) struct Count;

impl Count {
    pub(super) async fn run(self, global: &GlobalFlags) -> Result<(), CommandError> {
        let session = Session::find(global)?;
        let channel = session.channel().await?;
        let answer = session
            .call(async || {
                InstanceServiceClient::new(channel.clone())
                    .count_instances(CountInstancesRequest {})
                    .await
            })
            .await?;
        let number = answer.count.to_string();
        output::one(global.output, &answer, &number, || match answer.count {
            1 => "1 instance\n".to_owned(),
            count => format!("{count} instances\n"),
        })
    }
}
