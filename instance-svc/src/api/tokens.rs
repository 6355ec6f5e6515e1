//! Handler for tokens.

use std::time::Duration;

use hamlet_proto::hamlet::instance::v1::{
    CreateTokenRequest, Token, create_token_request::Audience as Named,
};
use service_kit::status::invalid_field;
use tonic::Status;

use super::Shared;
use crate::{
    actions::{
        create_token::{CreateToken, Wanted},
        find,
    },
    domain::token::Audience,
};

/// Makes a token.
pub(super) async fn create(shared: &Shared, request: CreateTokenRequest) -> Result<Token, Status> {
    let name = find::parse_resource_name("name", &request.name)?;
    let wanted = Wanted {
        audience: audience(&request)?,
        subject: request.subject,
        scopes: request.scopes,
        life: request
            .lifetime
            .map(Duration::try_from)
            .transpose()
            .map_err(|_| invalid_field("lifetime", "is negative; give a time such as 600s"))?,
    };
    let token = CreateToken {
        store: &shared.store,
        log: shared.engine.log(),
        peers: &shared.peers,
        clock: &shared.clock,
        config: &shared.config,
    }
    .create(&name, &wanted)
    .await?;
    Ok(Token {
        token: token.expose().to_owned(),
    })
}

fn audience(request: &CreateTokenRequest) -> Result<Audience, Status> {
    match Named::try_from(request.audience) {
        Ok(Named::App) => Ok(Audience::App),
        Ok(Named::Konnector) => Ok(Audience::Konnector),
        Ok(Named::Cli) => Ok(Audience::Cli),
        Ok(Named::Access) => Ok(Audience::Access),
        Ok(Named::Refresh) => Ok(Audience::Refresh),
        Ok(Named::Unspecified) | Err(_) => Err(invalid_field(
            "audience",
            "is missing or unknown; say who may use the token: an app, a konnector, the command line or an \
             OAuth client",
        )),
    }
}
