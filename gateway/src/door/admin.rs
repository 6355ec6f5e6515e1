//! The door for administrators.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header::AUTHORIZATION};
use hyper::body::Incoming;
use serde_json::json;
use service_kit::{json_api::REQUEST_ID_HEADER, telemetry};
use tower::ServiceExt as _;
use tracing::Instrument as _;

use crate::{
    accept::{Connection, Handler, Origin},
    answer::{
        Body,
        grpc::{self, is_grpc},
        http::{Negotiated, challenge, errors, plain},
    },
    caller::CallerKey,
    credential::{Credential, CredentialError},
    directory::{Directory, HostEntry, Resolution},
    exposure::Exposure,
    forward::{Forwarder, Target, Whose},
    gate::Passage,
    guesses::Guesses,
    health::{self, HealthService, Readiness},
    host::Host,
    proxied::Client,
    refusal::Refusal,
    route,
};

/// Checks the admin credential and forwards calls, by gRPC and by plain HTTP, also for instances that are blocked or
/// being destroyed.
pub(crate) struct AdminDoor {
    pub(crate) directory: Arc<Directory>,
    pub(crate) forwarder: Forwarder,
    pub(crate) credential: Arc<Credential>,
    pub(crate) health: HealthService,
    pub(crate) readiness: Readiness,
    pub(crate) exposure: Arc<Exposure>,
    pub(crate) guesses: Arc<Guesses>,
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
            let id = request.headers().get(REQUEST_ID_HEADER).cloned();
            let whose = Whose {
                client: &client,
                host: client.host_or(&host),
                entry: None,
                identity: None,
                passage: Passage::Free,
                trace: &origin.trace,
                last_lines: &origin.last_lines,
            };
            let mut response = self
                .answer_http(whose, &origin.connection, request, checked)
                .await;
            give_back(id, &mut response);
            return response;
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
            identity: None,
            passage: Passage::Free,
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
    /// Answers a request that is no gRPC: by the service that owns its path, or by the gateway itself.
    async fn answer_http(
        &self,
        whose: Whose<'_>,
        connection: &Arc<Connection>,
        request: Request<Incoming>,
        checked: Result<(), Refusal>,
    ) -> Response<Body> {
        let asked = Negotiated::of(&request, false);
        let error = |status: StatusCode, code: &str, detail: &str| {
            let title = status.canonical_reason().unwrap_or_default();
            asked.json_api(status, &errors(status, code, title, detail))
        };
        match checked {
            Ok(()) => {}
            Err(Refusal::Credential(refused)) => {
                let told = refused.to_string();
                return match refused {
                    CredentialError::Missing => {
                        let status = StatusCode::UNAUTHORIZED;
                        let mut response = error(status, refused.reason(), &told);
                        challenge(response.headers_mut());
                        response
                    }
                    CredentialError::Wrong => error(StatusCode::FORBIDDEN, refused.reason(), &told),
                };
            }
            Err(refused) => return asked.refuse_program(&refused),
        }
        let path = request.uri().path();
        let read = [Method::GET, Method::HEAD].contains(request.method());
        if path == "/version" && read {
            return asked.json(StatusCode::OK, &version());
        }
        if path == "/metrics" && read {
            return match telemetry::counted() {
                Some(text) => plain(StatusCode::OK, &text),
                None => error(
                    StatusCode::NOT_IMPLEMENTED,
                    "METRICS_OFF",
                    "this gateway counts nothing; start it with --metrics-listen",
                ),
            };
        }
        let Some(service) = route::admin_http(path) else {
            return error(
                StatusCode::NOT_FOUND,
                "NO_SUCH_PATH",
                "there is nothing at this path; GET /openapi.json lists the paths of the JSON API, and gRPC is \
                 spoken on this port too",
            );
        };
        let forwarded = self
            .forwarder
            .forward_http(Target::Service(service), whose, connection, request)
            .instrument(whose.trace.span().clone())
            .await;
        match forwarded {
            Ok(response) => response.map(Body::ForwardedHttp),
            Err(refusal) => asked.refuse_program(&refusal),
        }
    }
}

/// What is told of this version, with the members that compatible clients know.
fn version() -> serde_json::Value {
    json!({
        "name": "hamlet",
        "version": env!("CARGO_PKG_VERSION"),
        "build_mode": if cfg!(debug_assertions) { "development" } else { "production" },
        // Not kept: the same source gives the same program.
        "build_time": "",
        "runtime_version": "",
    })
}

/// Gives a caller the id back by which it finds its request. It decides nothing.
fn give_back(id: Option<HeaderValue>, response: &mut Response<Body>) {
    if let Some(id) = id {
        let headers = response.headers_mut();
        headers.entry(REQUEST_ID_HEADER).or_insert(id);
    }
}
