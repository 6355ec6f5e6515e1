//! The door for administrators.

use std::sync::Arc;

use http::{HeaderMap, Method, Request, Response, StatusCode, header::AUTHORIZATION};
use hyper::body::Incoming;
use serde_json::json;
use tower::ServiceExt as _;
use tracing::Instrument as _;

use crate::{
    accept::{Handler, Origin},
    answer::{
        Body,
        grpc::{self, is_grpc},
        http::{Negotiated, challenge, errors, plain},
    },
    caller::CallerKey,
    credential::{Credential, CredentialError},
    directory::{Directory, HostEntry, Resolution},
    exposure::Exposure,
    forward::{Forwarder, Whose},
    guesses::Guesses,
    health::{self, HealthService, Readiness},
    host::Host,
    pages::Pages,
    proxied::Client,
    refusal::Refusal,
    route,
};

/// Checks the admin credential and forwards gRPC, also for instances that are blocked or being
/// destroyed.
pub(crate) struct AdminDoor {
    pub(crate) directory: Arc<Directory>,
    pub(crate) forwarder: Forwarder,
    pub(crate) credential: Arc<Credential>,
    pub(crate) health: HealthService,
    pub(crate) readiness: Readiness,
    pub(crate) exposure: Arc<Exposure>,
    pub(crate) guesses: Arc<Guesses>,
    pub(crate) pages: Arc<Pages>,
}

impl Handler for AdminDoor {
    const DOOR: &'static str = "admin";
    const HTTP_SPAN: &'static str = "HTTP at the admin door";

    async fn handle(&self, mut request: Request<Incoming>, origin: &Origin) -> Response<Body> {
        if let Some(answer) = self.readiness.answer(&request) {
            return answer;
        }
        let host = match Host::of(&request) {
            Ok(host) => host,
            Err(malformed) => return plain(StatusCode::BAD_REQUEST, &malformed.to_string()),
        };
        if !origin.trace.span().is_disabled() {
            tracing::debug!(method = %request.method(), host = host.name(), path = request.uri().path(), "admin request");
        }
        let client = Client::of(origin.peer, request.headers(), &self.exposure.trusted);
        let checked = self.check(CallerKey::of(client.address), request.headers());
        // The credential is for this door only; services must not see it.
        request.headers_mut().remove(AUTHORIZATION);
        if !is_grpc(request.headers()) {
            return self.answer_http(&request, checked);
        }
        if let Some(refused) = grpc::refuse_malformed(&request) {
            return refused;
        }
        self.call(client.host_or(&host), &client, request, origin, checked)
            .await
            .unwrap_or_else(|refusal| grpc::refuse(&refusal))
    }
}

impl AdminDoor {
    /// Checks the credential of a request, and slows down who guesses.
    fn check(&self, client: CallerKey, headers: &HeaderMap) -> Result<(), Refusal> {
        let Some(sent) = headers.get(AUTHORIZATION) else {
            return Err(CredentialError::Missing.into());
        };
        self.guesses.may_try(client)?;
        self.credential.check(headers).map_err(|refused| {
            self.guesses.was_wrong(client, sent.as_bytes());
            refused.into()
        })
    }

    async fn call(
        &self,
        host: &Host,
        client: &Client,
        request: Request<Incoming>,
        origin: &Origin,
        checked: Result<(), Refusal>,
    ) -> Result<Response<Body>, Refusal> {
        let path = request.uri().path();
        let service = route::service_of(path);
        if service == Some(health::SERVICE) {
            let Ok(response) = self.health.clone().oneshot(request).await;
            return Ok(response.map(Body::Own));
        }
        checked?;
        let route = service
            .and_then(route::admin)
            .ok_or_else(|| Refusal::NoSuchService {
                path: path.to_owned(),
            })?;
        let entry = if route.for_instance {
            Some(self.resolve(host).await?)
        } else {
            None
        };
        let trace = match &entry {
            Some(entry) => entry.trace(&origin.trace, path),
            None => origin.trace.clone(),
        };
        let whose = Whose {
            client,
            host,
            entry: entry.as_ref(),
            trace: &trace,
            last_lines: &origin.last_lines,
        };
        self.forwarder
            .forward(route.service, whose, request)
            .instrument(trace.span().clone())
            .await
            .map(|response| response.map(Body::Forwarded))
    }

    async fn resolve(&self, host: &Host) -> Result<Arc<HostEntry>, Refusal> {
        match self.directory.resolve(host).await {
            Resolution::Found(entry) => Ok(entry),
            Resolution::Moved(to) => Err(Refusal::moved(host, &to)),
            Resolution::Unknown => Err(Refusal::unknown(host)),
            Resolution::OutOfReach => Err(Refusal::DirectoryUnreachable),
        }
    }
}

impl AdminDoor {
    fn answer_http(
        &self,
        request: &Request<Incoming>,
        checked: Result<(), Refusal>,
    ) -> Response<Body> {
        let asked = Negotiated::of(request, false);
        let error = |status: StatusCode, code: &str, title: &str, detail: &str| {
            asked.json(status, &errors(status, code, title, detail))
        };
        match checked {
            Ok(()) => {}
            Err(Refusal::Credential(refused)) => {
                let told = refused.to_string();
                let status = StatusCode::UNAUTHORIZED;
                let mut response = error(status, refused.reason(), "Unauthorized", &told);
                challenge(response.headers_mut());
                return response;
            }
            Err(refused) => return asked.refuse(&self.pages, &refused, ""),
        }
        let path = request.uri().path();
        let read = [Method::GET, Method::HEAD].contains(request.method());
        if path == "/version" && read {
            return asked.json(
                StatusCode::OK,
                &json!({"name": "hamlet", "version": env!("CARGO_PKG_VERSION")}),
            );
        }
        if path == "/instances" || path.starts_with("/instances/") {
            return error(
                StatusCode::NOT_IMPLEMENTED,
                "NOT_BUILT_YET",
                "Not Implemented",
                "the JSON API for instances is not built yet; use gRPC on this port, or the hamlet command",
            );
        }
        error(
            StatusCode::NOT_FOUND,
            "NO_SUCH_PATH",
            "Not Found",
            "there is nothing at this path; gRPC is spoken on this port, and GET /version answers",
        )
    }
}
