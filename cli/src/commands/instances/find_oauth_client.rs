//! `hamlet instances find-oauth-client`.

use clap::Args;
use hamlet_proto::hamlet::instance::v1::{
    FindOauthClientRequest, instance_service_client::InstanceServiceClient,
};

use crate::{
    calls::instance_name,
    error::CommandError,
    flags::global::GlobalFlags,
    output::{self, text::clean},
    session::Session,
    values,
};

/// Find an OAuth client by its software, and print its id; `-o json` prints more.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  hamlet instances find-oauth-client bob.localhost:8080 org.example.reader"
)]
pub(crate) struct FindOauthClient {
    /// The domain or an alias.
    #[arg(value_parser = values::domain::parse)]
    domain: String,
    /// What software it is.
    #[arg(value_parser = values::names::not_empty)]
    software_id: String,
}

impl FindOauthClient {
    pub(super) async fn run(self, global: &GlobalFlags) -> Result<(), CommandError> {
        global.output.check_single()?;
        let session = Session::find(global)?;
        let channel = session.channel().await?;
        let request = FindOauthClientRequest {
            name: instance_name(&self.domain),
            software_id: self.software_id,
        };
        let client = session
            .call(async || {
                InstanceServiceClient::new(channel.clone())
                    .find_oauth_client(request.clone())
                    .await
            })
            .await?;
        output::one(global.output, &client, &client.client_id, || {
            format!("{}\n", clean(&client.client_id))
        })
    }
}
