//! `hamlet instances token-oauth`.

use clap::Args;
use hamlet_proto::hamlet::instance::v1::{CreateTokenRequest, create_token_request::Audience};
use prost_types::Duration;

use crate::{
    calls::{create_token, instance_name},
    error::CommandError,
    flags::global::GlobalFlags,
    values,
};

/// Print an OAuth client's access token. It is a secret.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  hamlet instances token-oauth bob.localhost:8080 0198f3c2 io.cozy.files \\\n      --expire 1h"
)]
pub(crate) struct TokenOauth {
    /// The domain or an alias.
    #[arg(value_parser = values::domain::parse)]
    domain: String,
    /// The client's id.
    #[arg(value_parser = values::names::not_empty)]
    client: String,
    /// What it may do, such as io.cozy.files:GET; one argument may hold several, separated by spaces.
    #[arg(required = true, value_parser = values::names::not_empty)]
    scopes: Vec<String>,
    /// How long it lives; 7 days by default, and at most.
    #[arg(long, value_name = "TIME", value_parser = values::duration::parse)]
    expire: Option<Duration>,
}

impl TokenOauth {
    pub(super) async fn run(self, global: &GlobalFlags) -> Result<(), CommandError> {
        let request = CreateTokenRequest {
            name: instance_name(&self.domain),
            audience: Audience::Access.into(),
            subject: self.client,
            scopes: self.scopes,
            lifetime: self.expire,
        };
        create_token(global, request).await
    }
}
