//! `hamlet.instance.v1.IdentityService`.

use hamlet_proto::hamlet::instance::v1::{
    AppPage, AuthenticateRequest, GetAppPageRequest, Identity, identity::Kind,
    identity_service_server::IdentityService,
};
use serde_json::Value;
use service_kit::{caller::Caller, status::invalid_field};
use tonic::{Request, Response, Status};

use super::Shared;
use crate::{
    actions::app_page::app_page,
    domain::{bearer::Refused, scope::is_slug},
    error::Error,
    messages,
};

#[derive(Clone, Debug)]
pub(crate) struct Identities(pub(crate) Shared);

#[tonic::async_trait]
impl IdentityService for Identities {
    async fn authenticate(
        &self,
        request: Request<AuthenticateRequest>,
    ) -> Result<Response<Identity>, Status> {
        let caller = Caller::of(&request)?;
        caller.require_internal()?;
        let instance = caller.tenant()?.id.clone();
        let proofs = request.into_inner();
        if proofs.token.is_empty() && proofs.session_cookie.is_empty() {
            return Err(invalid_field("token", "is empty, and so is session_cookie"));
        }
        let who = self
            .0
            .authentication()
            .identify(&instance, &proofs.session_cookie, &proofs.token)
            .await
            .map_err(|error| match error {
                // The token of an app that is not there proves nothing.
                Error::NoPermissions { .. } => Error::Token(Refused::Wrong),
                error => error,
            })?;
        Ok(Response::new(messages::identity(who)))
    }

    async fn get_app_page(
        &self,
        request: Request<GetAppPageRequest>,
    ) -> Result<Response<AppPage>, Status> {
        let caller = Caller::of(&request)?;
        caller.require_internal()?;
        let instance = caller.tenant()?.id.clone();
        let session = caller
            .identity()
            .filter(|identity| identity.kind() == Kind::Session)
            .map(|identity| identity.session_id.clone());
        let slug = request.into_inner().slug;
        if !is_slug(&slug) {
            return Err(invalid_field(
                "slug",
                "is no slug of an app; one looks like drive",
            ));
        }
        let shared = &self.0;
        let page = app_page(
            &shared.store,
            &shared.clock,
            &shared.contexts,
            &instance,
            &slug,
            &session.unwrap_or_default(),
        )
        .await?;
        Ok(Response::new(AppPage {
            token: page.token,
            flags: Value::Object(page.flags).to_string(),
            capabilities: Value::Object(page.capabilities).to_string(),
            // No setting allows it yet.
            tracking: false,
        }))
    }
}
