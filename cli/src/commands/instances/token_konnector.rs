//! `hamlet instances token-konnector`.

use clap::Args;
use hamlet_proto::hamlet::instance::v1::{CreateTokenRequest, create_token_request::Audience};

use crate::{
    calls::{create_token, instance_name},
    error::CommandError,
    flags::global::GlobalFlags,
    values,
};

/// Print a token by which a konnector may use an instance. It is a secret, and lives 30 minutes.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  hamlet instances token-konnector bob.localhost:8080 bills")]
pub(crate) struct TokenKonnector {
    /// The domain or an alias.
    #[arg(value_parser = values::domain::parse)]
    domain: String,
    /// The konnector's slug.
    #[arg(value_parser = values::names::slug)]
    slug: String,
}

impl TokenKonnector {
    pub(super) async fn run(self, global: &GlobalFlags) -> Result<(), CommandError> {
        let request = CreateTokenRequest {
            name: instance_name(&self.domain),
            audience: Audience::Konnector.into(),
            subject: self.slug,
            scopes: Vec::new(),
            lifetime: None,
        };
        create_token(global, request).await
    }
}
