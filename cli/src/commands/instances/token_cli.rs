//! `hamlet instances token-cli`.

use clap::Args;
use hamlet_proto::hamlet::instance::v1::{CreateTokenRequest, create_token_request::Audience};

use crate::{
    calls::{create_token, instance_name},
    error::CommandError,
    flags::global::GlobalFlags,
    values,
};

/// Print a token by which the command line may use an instance. It is a secret, and lives 30 minutes.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  hamlet instances token-cli bob.localhost:8080 io.cozy.files \\\n      io.cozy.contacts:GET"
)]
pub(crate) struct TokenCli {
    /// The domain or an alias.
    #[arg(value_parser = values::domain::parse)]
    domain: String,
    /// What it may do, such as io.cozy.files:GET; one argument may hold several, separated by spaces.
    #[arg(required = true, value_parser = values::names::not_empty)]
    scopes: Vec<String>,
}

impl TokenCli {
    pub(super) async fn run(self, global: &GlobalFlags) -> Result<(), CommandError> {
        let request = CreateTokenRequest {
            name: instance_name(&self.domain),
            audience: Audience::Cli.into(),
            subject: String::new(),
            scopes: self.scopes,
            lifetime: None,
        };
        create_token(global, request).await
    }
}
