//! An instance service that knows what the test tells it.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use hamlet_proto::hamlet::instance::v1::{
    CheckRegisterTokenRequest, GetTenantRequest, PassphraseParameters, RegisterPassphraseRequest,
    RegisterPassphraseResponse, ResolveHostRequest, ResolveHostResponse, Tenant, TenantCard,
    WatchHostsRequest, WatchHostsResponse,
    directory_service_server::{DirectoryService, DirectoryServiceServer},
    resolve_host_response::HostState,
    tenant_service_server::{TenantService, TenantServiceServer},
};
use service_kit::{
    caller::{Authenticate, Caller},
    secret::Secret,
    server::GrpcServer,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::CLUSTER_KEY;

/// The fake instance service. It goes away when dropped.
pub(crate) struct Directory {
    pub(crate) address: SocketAddr,
    known: Known,
    stop: CancellationToken,
}

#[derive(Clone, Default)]
struct Known {
    hosts: Arc<Mutex<HashMap<String, ResolveHostResponse>>>,
    questions: Arc<AtomicUsize>,
    delay: Arc<Mutex<Duration>>,
    registered: Arc<Mutex<Vec<RegisterPassphraseRequest>>>,
}

/// An active instance whose owner has chosen a passphrase.
pub(crate) fn instance(domain: &str) -> ResolveHostResponse {
    ResolveHostResponse {
        tenant: Some(Tenant {
            id: format!("id of {domain}"),
            domain: domain.to_owned(),
            prefix: "cozy0123".to_owned(),
            locale: "fr".to_owned(),
            ..Tenant::default()
        }),
        state: HostState::Active.into(),
        canonical_host: domain.to_owned(),
        ..ResolveHostResponse::default()
    }
}

impl Directory {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let known = Known::default();
        let stop = CancellationToken::new();
        let service = DirectoryServiceServer::with_interceptor(
            known.clone(),
            Authenticate::new(Secret::new(CLUSTER_KEY)),
        );
        let tenants = TenantServiceServer::with_interceptor(
            known.clone(),
            Authenticate::new(Secret::new(CLUSTER_KEY)),
        );
        let server = GrpcServer::new().unwrap().with(service).with(tenants);
        tokio::spawn(server.serve(listener, stop.clone()));
        Self {
            address,
            known,
            stop,
        }
    }

    pub(crate) fn set(&self, host: &str, answer: ResolveHostResponse) {
        let mut hosts = self.known.hosts.lock().unwrap();
        hosts.insert(host.to_owned(), answer);
    }

    pub(crate) fn block(&self, host: &str, reason: &str) {
        let mut answer = instance(host);
        answer.set_state(HostState::Blocked);
        answer.blocking_reason = reason.to_owned();
        self.set(host, answer);
    }

    pub(crate) fn delete(&self, host: &str) {
        let mut answer = instance(host);
        answer.set_state(HostState::Deleting);
        self.set(host, answer);
    }

    pub(crate) fn questions(&self) -> usize {
        self.known.questions.load(Ordering::SeqCst)
    }

    /// The passphrases that were chosen.
    pub(crate) fn registered(&self) -> Vec<RegisterPassphraseRequest> {
        self.known.registered.lock().unwrap().clone()
    }

    pub(crate) fn answer_after(&self, delay: Duration) {
        *self.known.delay.lock().unwrap() = delay;
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[tonic::async_trait]
impl DirectoryService for Known {
    type WatchHostsStream = tokio_stream::Empty<Result<WatchHostsResponse, Status>>;

    async fn resolve_host(
        &self,
        request: Request<ResolveHostRequest>,
    ) -> Result<Response<ResolveHostResponse>, Status> {
        Caller::of(&request)?.require_internal()?;
        self.questions.fetch_add(1, Ordering::SeqCst);
        let delay = *self.delay.lock().unwrap();
        tokio::time::sleep(delay).await;
        let host = request.into_inner().host;
        let hosts = self.hosts.lock().unwrap();
        hosts
            .get(&host)
            .cloned()
            .map(Response::new)
            .ok_or_else(|| Status::not_found("no such host"))
    }

    async fn watch_hosts(
        &self,
        _: Request<WatchHostsRequest>,
    ) -> Result<Response<Self::WatchHostsStream>, Status> {
        Err(Status::unimplemented("not needed"))
    }
}

/// The token that opens every instance that waits for its owner.
pub(crate) const TOKEN: &str = "0123456789abcdef0123456789abcdef";
/// One that was right once.
pub(crate) const EXPIRED: &str = "eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee";

impl Known {
    /// Looks at a token as the instance service does.
    fn open(&self, tenant: &Tenant, token: &str) -> Result<(), Status> {
        let refused = |reason: &str| {
            service_kit::status::StatusBuilder::new(tonic::Code::PermissionDenied, reason, "no").build()
        };
        let waits = self.hosts.lock().unwrap()[&tenant.domain].onboarding;
        match token {
            _ if !token.bytes().all(|byte| byte.is_ascii_hexdigit()) || token.is_empty() => Err(
                service_kit::status::invalid_field("register_token", "is not hex"),
            ),
            _ if !waits => Err(refused("REGISTER_TOKEN_USED")),
            TOKEN => Ok(()),
            EXPIRED => Err(refused("REGISTER_TOKEN_EXPIRED")),
            _ => Err(refused("REGISTER_TOKEN_WRONG")),
        }
    }
}

#[tonic::async_trait]
impl TenantService for Known {
    async fn get_tenant(
        &self,
        _: Request<GetTenantRequest>,
    ) -> Result<Response<TenantCard>, Status> {
        Err(Status::unimplemented("not needed"))
    }

    async fn check_register_token(
        &self,
        request: Request<CheckRegisterTokenRequest>,
    ) -> Result<Response<PassphraseParameters>, Status> {
        let tenant = Caller::of(&request)?.tenant()?.clone();
        self.open(&tenant, &request.into_inner().register_token)?;
        Ok(Response::new(PassphraseParameters {
            salt: format!("me@{}", tenant.domain),
            iterations: 650_000,
        }))
    }

    async fn register_passphrase(
        &self,
        request: Request<RegisterPassphraseRequest>,
    ) -> Result<Response<RegisterPassphraseResponse>, Status> {
        let tenant = Caller::of(&request)?.tenant()?.clone();
        let asked = request.into_inner();
        let invalid = service_kit::status::invalid_field;
        if asked.iterations != 0 && asked.iterations < 50_000 {
            return Err(invalid("iterations", "is too low"));
        }
        if asked.passphrase.is_empty() {
            return Err(invalid("passphrase", "is empty"));
        }
        if asked.hint == asked.passphrase {
            return Err(invalid("hint", "is the passphrase"));
        }
        self.open(&tenant, &asked.register_token)?;
        self.hosts
            .lock()
            .unwrap()
            .get_mut(&tenant.domain)
            .unwrap()
            .onboarding = false;
        self.registered.lock().unwrap().push(asked);
        Ok(Response::new(RegisterPassphraseResponse {}))
    }
}
