//! `hamlet instances refresh-token-oauth`.

use clap::Args;
use hamlet_proto::hamlet::instance::v1::{CreateTokenRequest, create_token_request::Audience};

use crate::{
    calls::{create_token, instance_name},
    error::CommandError,
    flags::global::GlobalFlags,
    values,
};

/// Print an OAuth client's refresh token. It is a secret, and does not expire.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  hamlet instances refresh-token-oauth bob.localhost:8080 0198f3c2 \\\n      io.cozy.files"
)]
pub(crate) struct RefreshTokenOauth {
    /// The domain or an alias.
    #[arg(value_parser = values::domain::parse)]
    domain: String,
    /// The client's id.
    #[arg(value_name = "ID", value_parser = values::names::not_empty)]
    client: String,
    /// What it may do, such as io.cozy.files:GET; one argument may hold several, separated by spaces.
    #[arg(required = true, value_name = "SCOPE", value_parser = values::names::not_empty)]
    scopes: Vec<String>,
}

impl RefreshTokenOauth {
    pub(super) async fn run(self, global: &GlobalFlags) -> Result<(), CommandError> {
        let request = CreateTokenRequest {
            name: instance_name(&self.domain),
            audience: Audience::Refresh.into(),
            subject: self.client,
            scopes: self.scopes,
            lifetime: None,
        };
        create_token(global, request).await
    }
}
