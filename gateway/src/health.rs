//! The health of the gateway, and of the services as it sees them.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use service_kit::peer::Channel;
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
    answer::{Body, http::plain},
    directory::DirectoryState,
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

/// What is told about the directory while its answers are not kept true.
const DEGRADED: &str = "ready; degraded: the instance service does not tell of changes, so hosts are asked for \
                        again after a moment";

/// Which of the services served at the last look, and whether the directory keeps its answers true.
#[derive(Clone, Default)]
pub(crate) struct Readiness {
    services: Arc<[AtomicBool; 3]>,
    directory: DirectoryState,
}

impl Readiness {
    /// Answers a question about the health, whatever the host; `None` when the request asks for something else.
    pub(crate) fn answer<B>(&self, request: &Request<B>) -> Option<Response<Body>> {
        if ![Method::GET, Method::HEAD].contains(request.method()) {
            return None;
        }
        let is_head = request.method() == Method::HEAD;
        let plain = |status, text: &str| {
            let mut response = plain(status, text);
            if is_head {
                *response.body_mut() = Body::Empty;
            }
            response
        };
        match request.uri().path() {
            LIVE_PATH => Some(plain(StatusCode::OK, "ok")),
            READY_PATH => {
                let names = [INSTANCES, FILES, APPS];
                let down = names.iter().zip(self.services.iter());
                let down = down.filter(|(_, serves)| !serves.load(Ordering::Relaxed));
                let down: Vec<_> = down.map(|(name, _)| *name).collect();
                Some(if down.is_empty() && self.directory.is_degraded() {
                    plain(StatusCode::OK, DEGRADED)
                } else if down.is_empty() {
                    plain(StatusCode::OK, "ready")
                } else {
                    let text = format!("not serving: {}", down.join(", "));
                    plain(StatusCode::SERVICE_UNAVAILABLE, &text)
                })
            }
            _ => None,
        }
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
    pub(crate) fn new(services: &Services, directory: DirectoryState) -> (Self, HealthService) {
        let client = |service| HealthClient::new(services.channel(service));
        let (reporter, service) = tonic_health::server::health_reporter();
        let health = Self {
            reporter,
            readiness: Readiness {
                services: Arc::default(),
                directory,
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

async fn serves(client: &mut HealthClient<Channel>, name: &str) -> bool {
    let asked = client.check(HealthCheckRequest {
        service: name.to_owned(),
    });
    matches!(
        timeout(ANSWER_WITHIN, asked).await,
        Ok(Ok(answer)) if answer.get_ref().status() == Reported::Serving
    )
}
