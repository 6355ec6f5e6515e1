//! `hamlet instances token-cli`, `token-app`, `token-konnector`, `token-oauth` and `refresh-token-oauth`.

use hamlet_proto::hamlet::instance::v1::{
    CreateTokenRequest, create_token_request::Audience,
    instance_service_client::InstanceServiceClient,
};

use super::name_of;
use crate::{
    args::{Format, Instances},
    failure::{Failure, say},
    output,
    session::Session,
    text::clean,
};

pub(super) async fn run(
    session: &Session,
    format: Format,
    command: Instances,
) -> Result<(), Failure> {
    let Some(request) = request(command) else {
        return Err(Failure::Usage("this command makes no token".to_owned()));
    };
    for scope in request.scopes.iter().filter(|scope| scope.contains(',')) {
        say(&format!(
            "warning: the scope {} has a comma; scopes are separated by spaces",
            clean(scope)
        ));
    }
    let door = session.door().await?;
    // A token is made of what is there: asked for twice, nothing is changed.
    let token = session
        .ask(async || {
            InstanceServiceClient::new(door.clone())
                .create_token(request.clone())
                .await
        })
        .await?;
    output::one(format, &token, &token.token, || {
        format!("{}\n", clean(&token.token))
    })
}

/// What a command asks for; `None` when it makes no token.
fn request(command: Instances) -> Option<CreateTokenRequest> {
    let (domain, audience, subject, scopes, lifetime) = match command {
        Instances::TokenCli { domain, scopes } => {
            (domain, Audience::Cli, String::new(), scopes, None)
        }
        Instances::TokenApp {
            domain,
            slug,
            expire,
        } => (domain, Audience::App, slug, Vec::new(), expire),
        Instances::TokenKonnector { domain, slug } => {
            (domain, Audience::Konnector, slug, Vec::new(), None)
        }
        Instances::TokenOauth {
            domain,
            client,
            scopes,
            expire,
        } => (domain, Audience::Access, client, scopes, expire),
        Instances::RefreshTokenOauth {
            domain,
            client,
            scopes,
        } => (domain, Audience::Refresh, client, scopes, None),
        _ => return None,
    };
    Some(CreateTokenRequest {
        name: name_of(&domain),
        audience: audience.into(),
        subject,
        scopes,
        lifetime,
    })
}
