//! The health of the gateway, and of the services as it sees them.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http::{HeaderValue, Method, Request, Response, StatusCode, header::CONTENT_TYPE};
use hyper::body::Incoming;
use serde_json::json;
use service_kit::{health::DATABASE, peer::Channel};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tonic_health::{
    ServingStatus,
    pb::{
        HealthCheckRequest, health_check_response::ServingStatus as Reported,
        health_client::HealthClient,
    },
    server::HealthReporter,
};
use tower::util::BoxCloneSyncService;

use crate::{
    answer::{
        Body,
        http::{plain, unless_read},
    },
    directory::DirectoryState,
    forward::Backends,
    route::Service,
    services::Services,
};

/// The name of the gRPC service.
pub(crate) const SERVICE: &str = "grpc.health.v1.Health";

const INSTANCES: &str = "hamlet.instance.v1.InstanceService";
const FILES: &str = "hamlet.files.v1.FilesService";
const APPS: &str = "hamlet.apps.v1.AppsService";

const EVERY: Duration = Duration::from_secs(2);
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// The `grpc.health.v1` service of the admin door.
pub(crate) type HealthService =
    BoxCloneSyncService<Request<Incoming>, Response<tonic::body::Body>, Infallible>;

/// Where load balancers and container platforms ask whether the process lives.
const LIVE_PATH: &str = "/healthz";
/// Where they ask whether it can do its work.
const READY_PATH: &str = "/readyz";

/// Where clients of the original ask whether it can do its work.
const STATUS_PATHS: [&str; 2] = ["/status", "/status/"];
/// Where they ask whether they reach it at all.
const CONNECTION_PATH: &str = "/connection_check";

/// What is told about the directory while its answers are not kept true.
const DEGRADED: &str = "ready; degraded: the instance service does not tell of changes, so hosts are asked for \
                        again after a moment";

/// What is added while the database is away. Gateways go on without it: they say what is wrong.
const DATABASE_AWAY: &str = "; degraded: the database does not answer";

/// What is added while a server that serves instances in Hamlet's stead is away. Its address is for the log.
const BACKEND_AWAY: &str = "; degraded: a backend does not answer";

/// Which of the services served at the last look, and whether one said that the database was away; whether the directory
/// keeps its answers true, and whether the backends answer.
#[derive(Clone, Default)]
pub(crate) struct Readiness {
    services: Arc<[AtomicBool; 3]>,
    database_is_away: Arc<AtomicBool>,
    directory: DirectoryState,
    backends: Option<Arc<Backends>>,
}

impl Readiness {
    /// Answers a question about the health, whatever the host; `None` when the request asks for something else.
    pub(crate) fn answer<B>(&self, request: &Request<B>) -> Option<Response<Body>> {
        self.of_process(request)
            .or_else(|| self.as_original(request))
    }

    /// Answers where clients of the original ask. A server that serves an instance in Hamlet's stead answers by itself.
    pub(crate) fn as_original<B>(&self, request: &Request<B>) -> Option<Response<Body>> {
        let no_content = || {
            let mut response = Response::new(Body::Empty);
            *response.status_mut() = StatusCode::NO_CONTENT;
            response
        };
        let status = || self.status(request.method() == Method::HEAD);
        match request.uri().path() {
            CONNECTION_PATH => Some(unless_read(request).unwrap_or_else(no_content)),
            path if STATUS_PATHS.contains(&path) => {
                Some(unless_read(request).unwrap_or_else(status))
            }
            _ => None,
        }
    }

    /// Answers where load balancers and container platforms ask.
    pub(crate) fn of_process<B>(&self, request: &Request<B>) -> Option<Response<Body>> {
        let path = request.uri().path();
        if ![LIVE_PATH, READY_PATH].contains(&path) {
            return None;
        }
        if let Some(refused) = unless_read(request) {
            return Some(refused);
        }
        let is_head = request.method() == Method::HEAD;
        let plain = |status, text: &str| {
            let mut response = plain(status, text);
            if is_head {
                *response.body_mut() = Body::Empty;
            }
            response
        };
        match path {
            LIVE_PATH => Some(plain(StatusCode::OK, "ok")),
            READY_PATH => {
                let names = [INSTANCES, FILES, APPS];
                let down = names.iter().zip(self.services.iter());
                let down = down.filter(|(_, serves)| !serves.load(Ordering::Relaxed));
                let down: Vec<_> = down.map(|(name, _)| *name).collect();
                let mut text = if !down.is_empty() {
                    format!("not serving: {}", down.join(", "))
                } else if self.directory.is_degraded() {
                    DEGRADED.to_owned()
                } else {
                    "ready".to_owned()
                };
                if self.database_is_away.load(Ordering::Relaxed) {
                    text.push_str(DATABASE_AWAY);
                }
                if self.is_backend_away() {
                    text.push_str(BACKEND_AWAY);
                }
                Some(if down.is_empty() {
                    plain(StatusCode::OK, &text)
                } else {
                    plain(StatusCode::SERVICE_UNAVAILABLE, &text)
                })
            }
            _ => None,
        }
    }

    fn is_backend_away(&self) -> bool {
        let backends = self.backends.as_ref();
        backends.is_some_and(|backends| backends.is_degraded())
    }

    /// The answer in the form that clients of the original read: its cache is the directory here, and its file system is
    /// behind the files service.
    fn status(&self, is_head: bool) -> Response<Body> {
        let [instances, files, apps] = &*self.services;
        let is = |known: &AtomicBool| known.load(Ordering::Relaxed);
        let told = |is_healthy: bool| if is_healthy { "healthy" } else { "unhealthy" };
        let is_database_away = is(&self.database_is_away);
        let all_serve = [instances, files, apps].into_iter().all(is);
        let (code, message) = if all_serve && !is_database_away {
            (StatusCode::OK, "OK")
        } else {
            (StatusCode::BAD_GATEWAY, "KO")
        };
        let body = json!({
            "cache": told(!self.directory.is_degraded()),
            "couchdb": told(is(instances) && !is_database_away),
            "fs": told(is(files)),
            "message": message,
            "status": message,
        });
        let mut response = plain(code, &body.to_string());
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if is_head {
            *response.body_mut() = Body::Empty;
        }
        response
    }
}

/// Keeps the health up to date. The gateway's own health has the empty name, that of a service the name of
/// its main gRPC service.
pub(crate) struct Health {
    reporter: HealthReporter,
    readiness: Readiness,
    services: [(&'static str, HealthClient<Channel>); 3],
}

impl Health {
    pub(crate) fn new(
        services: &Services,
        directory: DirectoryState,
        backends: &Arc<Backends>,
    ) -> (Self, HealthService) {
        let client = |service| HealthClient::new(services.channel(service));
        let (reporter, service) = tonic_health::server::health_reporter();
        let health = Self {
            reporter,
            readiness: Readiness {
                services: Arc::default(),
                database_is_away: Arc::default(),
                directory,
                backends: Some(Arc::clone(backends)),
            },
            services: [
                (INSTANCES, client(Service::Instances)),
                (FILES, client(Service::Files)),
                (APPS, client(Service::Apps)),
            ],
        };
        (health, BoxCloneSyncService::new(service))
    }

    /// What the doors answer about the health.
    pub(crate) fn readiness(&self) -> Readiness {
        self.readiness.clone()
    }

    /// Polls the services until `shutdown`; then everything is NOT_SERVING.
    pub(crate) async fn watch(mut self, shutdown: CancellationToken) -> Infallible {
        let mut known = [None; 3];
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = self.keep_asking(&mut known) => {}
        }
        for name in ["", INSTANCES, FILES, APPS] {
            self.reporter
                .set_service_status(name, ServingStatus::NotServing)
                .await;
        }
        std::future::pending().await
    }

    async fn keep_asking(&mut self, known: &mut [Option<bool>; 3]) {
        loop {
            let [(_, instances), ..] = &mut self.services;
            let is_away = is_database_away(instances).await;
            let away = &self.readiness.database_is_away;
            away.store(is_away, Ordering::Relaxed);
            let ready = self.readiness.services.iter();
            for (((name, client), known), ready) in
                self.services.iter_mut().zip(known.iter_mut()).zip(ready)
            {
                let serves = serves(client, name).await;
                ready.store(serves, Ordering::Relaxed);
                if *known == Some(serves) {
                    continue;
                }
                if *known == Some(true) || serves {
                    tracing::info!(service = name, serves, "the health of a service changed");
                }
                *known = Some(serves);
                let status = if serves {
                    ServingStatus::Serving
                } else {
                    ServingStatus::NotServing
                };
                self.reporter.set_service_status(name, status).await;
            }
            sleep(EVERY).await;
        }
    }
}

/// Whether the instance service says that its database is away. An older one says nothing.
async fn is_database_away(instances: &mut HealthClient<Channel>) -> bool {
    let asked = instances.check(HealthCheckRequest {
        service: DATABASE.to_owned(),
    });
    matches!(
        timeout(ANSWER_WITHIN, asked).await,
        Ok(Ok(answer)) if answer.get_ref().status() == Reported::NotServing
    )
}

async fn serves(client: &mut HealthClient<Channel>, name: &str) -> bool {
    let asked = client.check(HealthCheckRequest {
        service: name.to_owned(),
    });
    matches!(
        timeout(ANSWER_WITHIN, asked).await,
        Ok(Ok(answer)) if answer.get_ref().status() == Reported::Serving
    )
}
