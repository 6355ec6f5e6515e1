//! `hamlet.instance.v1.DirectoryService` and `TenantService`.

use std::pin::Pin;

use futures::{Stream, StreamExt as _};
use hamlet_proto::hamlet::instance::v1::{
    CheckRegisterTokenRequest, GetTenantRequest, PassphraseParameters, RegisterPassphraseRequest,
    RegisterPassphraseResponse, ResolveHostRequest, ResolveHostResponse, TenantCard,
    WatchHostsRequest, WatchHostsResponse, directory_service_server::DirectoryService,
    resolve_host_response::HostState, tenant_service_server::TenantService,
    watch_hosts_response::Heartbeat,
};
use service_kit::caller::Caller;
use tonic::{Request, Response, Status};

use super::{Shared, passphrase};
use crate::{
    actions::{register_passphrase::Link, resolve::resolve},
    domain::{
        outdated::Outdated,
        state::{State, is_set_by_other_software},
    },
    error::Error,
    host_changes::{Notice, Position},
    messages,
};

#[derive(Clone, Debug)]
pub(crate) struct Directory(pub(crate) Shared);

#[tonic::async_trait]
impl DirectoryService for Directory {
    type WatchHostsStream = Pin<Box<dyn Stream<Item = Result<WatchHostsResponse, Status>> + Send>>;

    async fn resolve_host(
        &self,
        request: Request<ResolveHostRequest>,
    ) -> Result<Response<ResolveHostResponse>, Status> {
        Caller::of(&request)?.require_internal()?;
        let resolved = resolve(&self.0.store, &self.0.contexts, &request.into_inner().host).await?;
        let document = &resolved.document;
        let state = match State::of(document, resolved.record.as_ref()) {
            State::Deleting => HostState::Deleting,
            State::Deleted => HostState::Deleted,
            State::Blocked => HostState::Blocked,
            State::Onboarded | State::Onboarding | State::Pending => HostState::Active,
        };
        Ok(Response::new(ResolveHostResponse {
            tenant: Some(messages::tenant(
                &self.0.config,
                &self.0.clock,
                &resolved.id,
                document,
                resolved.record.as_ref(),
            )),
            state: state.into(),
            blocking_reason: document.blocking_reason.clone(),
            app_slug: resolved.app_slug.clone(),
            redirect_domain: resolved.redirect.clone().unwrap_or_default(),
            canonical_host: resolved.canonical_host.clone(),
            onboarding: document.register_token_hex().is_some(),
            purge_time: resolved
                .record
                .as_ref()
                .and_then(|record| record.purge_at)
                .map(messages::timestamp),
            operator: messages::operator(&self.0.contexts, &document.context),
            backend: messages::backend(&self.0.contexts.get(&document.context)),
            set_by_other_software: is_set_by_other_software(document, resolved.record.as_ref()),
        }))
    }

    async fn watch_hosts(
        &self,
        request: Request<WatchHostsRequest>,
    ) -> Result<Response<Self::WatchHostsStream>, Status> {
        Caller::of(&request)?.require_internal()?;
        let position = Position::parse(&request.into_inner().resume_token);
        let shutdown = self.0.shutdown.clone().cancelled_owned();
        let notices = self.0.host_changes.watch(position).take_until(shutdown);
        Ok(Response::new(Box::pin(
            notices.map(|notice| Ok(response(notice))),
        )))
    }
}

fn response(notice: Notice) -> WatchHostsResponse {
    let token = |position: Position| position.to_string();
    match notice {
        Notice::Outdated(outdated, position) => {
            let (canonical_host, instance_id) = match outdated {
                Outdated::Host(host) => (host.to_string(), String::new()),
                Outdated::Instance(id) => (String::new(), id.to_string()),
            };
            WatchHostsResponse {
                canonical_host,
                instance_id,
                resume_token: position.map(token).unwrap_or_default(),
                ..WatchHostsResponse::default()
            }
        }
        Notice::Reset(position) => WatchHostsResponse {
            reset: true,
            resume_token: token(position),
            ..WatchHostsResponse::default()
        },
        Notice::Heartbeat(age, position) => WatchHostsResponse {
            heartbeat: Some(Heartbeat {
                proof_age: prost_types::Duration::try_from(age).ok(),
            }),
            resume_token: token(position),
            ..WatchHostsResponse::default()
        },
    }
}

#[tonic::async_trait]
impl TenantService for Directory {
    async fn get_tenant(
        &self,
        request: Request<GetTenantRequest>,
    ) -> Result<Response<TenantCard>, Status> {
        let tenant = Caller::of(&request)?.tenant()?;
        let document = self
            .0
            .store
            .instance(&tenant.id)
            .await
            .map_err(Error::from)?
            .ok_or_else(|| Error::NoSuchInstance(tenant.domain.clone()))?
            .body;
        Ok(Response::new(TenantCard {
            onboarding: document.register_token_hex().is_some(),
            domain: document.domain,
            locale: document.locale,
        }))
    }

    async fn check_register_token(
        &self,
        request: Request<CheckRegisterTokenRequest>,
    ) -> Result<Response<PassphraseParameters>, Status> {
        let tenant = Caller::of(&request)?.tenant()?.id.clone();
        let parameters =
            passphrase::check(&self.0, &tenant, Link::Register, &request.into_inner()).await?;
        Ok(Response::new(parameters))
    }

    async fn register_passphrase(
        &self,
        request: Request<RegisterPassphraseRequest>,
    ) -> Result<Response<RegisterPassphraseResponse>, Status> {
        let tenant = Caller::of(&request)?.tenant()?.clone();
        passphrase::register(&self.0, &tenant, Link::Register, request.into_inner()).await?;
        Ok(Response::new(RegisterPassphraseResponse {}))
    }
}
