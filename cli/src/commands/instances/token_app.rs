//! `hamlet instances token-app`.

use clap::Args;
use hamlet_proto::hamlet::instance::v1::{CreateTokenRequest, create_token_request::Audience};
use prost_types::Duration;

use crate::{
    calls::{create_token, instance_name},
    error::CommandError,
    flags::global::GlobalFlags,
    values,
};

/// Print a token by which a web app may use an instance. It is a secret.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  hamlet instances token-app bob.localhost:8080 home --expire 10m"
)]
pub(crate) struct TokenApp {
    /// The domain or an alias.
    #[arg(value_parser = values::domain::parse)]
    domain: String,
    /// The app's slug.
    #[arg(value_parser = values::names::slug)]
    slug: String,
    /// How long it lives; 30m by default, and at most.
    #[arg(long, value_name = "TIME", value_parser = values::duration::parse)]
    expire: Option<Duration>,
}

impl TokenApp {
    pub(super) async fn run(self, global: &GlobalFlags) -> Result<(), CommandError> {
        let request = CreateTokenRequest {
            name: instance_name(&self.domain),
            audience: Audience::App.into(),
            subject: self.slug,
            scopes: Vec::new(),
            lifetime: self.expire,
        };
        create_token(global, request).await
    }
}
