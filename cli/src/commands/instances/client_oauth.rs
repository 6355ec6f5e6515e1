//! `hamlet instances client-oauth`.

use clap::Args;
use hamlet_proto::hamlet::instance::v1::{
    RegisterOauthClientRequest, instance_service_client::InstanceServiceClient,
};
use uuid::Uuid;

use crate::{
    calls::instance_name,
    error::CommandError,
    flags::global::GlobalFlags,
    output::{self, text::clean},
    session::Session,
    values,
};

/// Register an OAuth client, and print its id.
///
/// With `-o json`, its secret and the token with which it may change its registration are printed, too; they are told here only.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  hamlet instances client-oauth bob.localhost:8080 \\\n      https://reader.example/callback Reader org.example.reader"
)]
pub(crate) struct ClientOauth {
    /// The domain or an alias.
    #[arg(value_parser = values::domain::parse)]
    domain: String,
    /// Where browsers are sent with the answer of the owner.
    #[arg(value_name = "URI", value_parser = values::names::not_empty)]
    redirect_uri: String,
    /// Its name, for the owner.
    #[arg(value_name = "NAME", value_parser = values::names::not_empty)]
    client_name: String,
    /// What software it is.
    #[arg(value_name = "SOFTWARE", value_parser = values::names::not_empty)]
    software_id: String,
    /// Let it ask for a login alone, which opens nothing.
    #[arg(long)]
    allow_login_scope: bool,
    /// A UUID under which the same client is registered only once.
    #[arg(long, value_name = "UUID", value_parser = values::names::request_id)]
    request_id: Option<String>,
}

impl ClientOauth {
    pub(super) async fn run(self, global: &GlobalFlags) -> Result<(), CommandError> {
        global.output.check_single()?;
        let session = Session::find(global)?;
        let channel = session.channel().await?;
        let request = RegisterOauthClientRequest {
            name: instance_name(&self.domain),
            redirect_uris: vec![self.redirect_uri],
            client_name: self.client_name,
            software_id: self.software_id,
            allow_login_scope: self.allow_login_scope,
            // The call is repeated when its answer is lost.
            request_id: self
                .request_id
                .unwrap_or_else(|| Uuid::new_v4().to_string()),
        };
        let client = session
            .call(async || {
                InstanceServiceClient::new(channel.clone())
                    .register_oauth_client(request.clone())
                    .await
            })
            .await?;
        output::one(global.output, &client, &client.client_id, || {
            format!("{}\n", clean(&client.client_id))
        })
    }
}
