//! `hamlet instances register-link`.

use clap::Args;
use hamlet_proto::hamlet::instance::v1::{
    GetRegisterLinkRequest, RotateRegisterLinkRequest,
    instance_service_client::InstanceServiceClient,
};

use crate::{
    calls::instance_name,
    change::ChangeRequest,
    error::CommandError,
    flags::{format::Format, global::GlobalFlags, target::Target},
    session::Session,
    views::outcome,
};

/// Print the link by which the owner chooses a passphrase. It is a secret.
///
/// Once the owner has chosen a passphrase there is none.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  hamlet instances register-link bob.localhost:8080\n  hamlet instances register-link bob.localhost:8080 --rotate"
)]
pub(crate) struct RegisterLink {
    #[command(flatten)]
    target: Target,
    /// Make a new link; the old one works no more.
    #[arg(long)]
    rotate: bool,
}

impl RegisterLink {
    pub(super) async fn run(self, global: &GlobalFlags) -> Result<(), CommandError> {
        let session = Session::find(global)?;
        if self.rotate {
            return rotate(&session, global.output, self.target).await;
        }
        self.target.condition.refuse_without("--rotate")?;
        self.target.request.refuse_without("--rotate")?;
        let channel = session.channel().await?;
        let request = GetRegisterLinkRequest {
            name: instance_name(&self.target.domain),
        };
        let link = session
            .call(async || {
                InstanceServiceClient::new(channel.clone())
                    .get_register_link(request.clone())
                    .await
            })
            .await?;
        outcome::print_link(global.output, &link)
    }
}

async fn rotate(session: &Session, format: Format, target: Target) -> Result<(), CommandError> {
    let channel = session.channel().await?;
    let change = ChangeRequest::new(session, &channel, format, "register-link", target.request);
    let request = RotateRegisterLinkRequest {
        name: instance_name(&target.domain),
        etag: target.condition.into_etag(),
        request_id: change.request_id.clone(),
        validate_only: change.dry_run,
    };
    change
        .make(async || {
            InstanceServiceClient::new(channel.clone())
                .rotate_register_link(request.clone())
                .await
        })
        .await
}
