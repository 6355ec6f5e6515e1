//! Metrics: what is counted, and how Prometheus gets it. `docs/running.md` lists them.

use std::{convert::Infallible, net::SocketAddr, sync::OnceLock, time::Duration};

use http::{Method, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::error::Error;

/// The upper bounds of durations, in seconds: from a call in memory to a creation that waits.
const BUCKETS: [f64; 12] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0,
];
/// How often what was recorded is brought together.
const UPKEEP: Duration = Duration::from_secs(5);
/// How long a caller may take for the head of its request.
const HEAD_WITHIN: Duration = Duration::from_secs(10);

/// What is counted in this process, once something is.
static COUNTED: OnceLock<PrometheusHandle> = OnceLock::new();

/// What is counted in this process, in the format of Prometheus. `None` when nothing is.
#[must_use]
pub fn counted() -> Option<String> {
    COUNTED.get().map(PrometheusHandle::render)
}

/// Begins to count, and shows it at `address` until `shutdown`.
pub(super) async fn show(address: SocketAddr, shutdown: CancellationToken) -> Result<(), Error> {
    let listener = TcpListener::bind(address)
        .await
        .map_err(|source| Error::Metrics { address, source })?;
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &BUCKETS)?
        .install_recorder()?;
    describe();
    // A process has one recorder: a second one is refused above.
    COUNTED.get_or_init(|| handle.clone());
    tracing::info!(%address, "metrics are shown");
    let upkeep = handle.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(UPKEEP).await;
            upkeep.run_upkeep();
        }
    });
    tokio::spawn(async move {
        loop {
            let accepted = tokio::select! {
                () = shutdown.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => _ = tokio::spawn(answer(stream, handle.clone())),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    });
    Ok(())
}

fn describe() {
    metrics::describe_counter!("hamlet_calls_total", "gRPC calls that have ended");
    metrics::describe_histogram!(
        "hamlet_call_duration_seconds",
        "How long gRPC calls took, to their last byte"
    );
    metrics::describe_counter!("hamlet_http_requests_total", "requests that are no gRPC");
    metrics::describe_gauge!(
        "hamlet_certificate_expiry_timestamp_seconds",
        "When the first of a door's certificates expires, in Unix time"
    );
    metrics::describe_counter!(
        "hamlet_operation_steps_total",
        "steps of operations that have ended"
    );
    metrics::describe_histogram!(
        "hamlet_operation_step_duration_seconds",
        "How long steps of operations took"
    );
    metrics::describe_gauge!(
        "hamlet_directory_fresh",
        "1 while a gateway is told of changes of hosts or nobody calls it, 0 otherwise"
    );
    metrics::describe_gauge!(
        "hamlet_backend_serves",
        "1 while requests go to this address of a backend, 0 while its circuit is open"
    );
    metrics::describe_counter!(
        "hamlet_backend_circuit_openings_total",
        "how often the circuit of this address of a backend has opened"
    );
    metrics::describe_gauge!(
        DOOR_CONNECTIONS,
        "connections at a door, those that became tunnels included"
    );
    metrics::describe_gauge!(DOOR_TUNNELS, "connections at a door that became tunnels");
    metrics::describe_gauge!(
        BACKEND_CONNECTIONS,
        "connections for requests to this address of a backend"
    );
    metrics::describe_gauge!(BACKEND_TUNNELS, "tunnels to this address of a backend");
    metrics::describe_counter!(
        "hamlet_mails_total",
        "tries to send a mail, and mails that were given up"
    );
    metrics::describe_counter!("hamlet_database_calls_total", "calls to the database");
    metrics::describe_histogram!(
        "hamlet_database_call_duration_seconds",
        "How long calls to the database took"
    );
}

async fn answer(stream: TcpStream, handle: PrometheusHandle) {
    let service = service_fn(move |request: Request<Incoming>| {
        let text = (request.method() == Method::GET && request.uri().path() == "/metrics")
            .then(|| handle.render());
        async move { Ok::<_, Infallible>(page_of(text)) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a connection for metrics ended badly");
    }
}

fn page_of(text: Option<String>) -> Response<Full<bytes::Bytes>> {
    let found = text.is_some();
    let text = text.unwrap_or_else(|| "metrics are at /metrics\n".to_owned());
    let mut response = Response::new(Full::new(text.into()));
    let kind = http::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    if !found {
        *response.status_mut() = StatusCode::NOT_FOUND;
    }
    response
}

/// Counts a step of an operation that has ended.
pub fn operation_step(
    kind: &'static str,
    step: &'static str,
    outcome: &'static str,
    took: Duration,
) {
    let labels = [("kind", kind), ("step", step), ("outcome", outcome)];
    metrics::counter!("hamlet_operation_steps_total", &labels).increment(1);
    metrics::histogram!("hamlet_operation_step_duration_seconds", &labels).record(took);
}

/// Counts a try to send a mail of this kind, or a mail that is given up.
pub fn mail(kind: &'static str, outcome: &'static str) {
    let labels = [("kind", kind), ("outcome", outcome)];
    metrics::counter!("hamlet_mails_total", &labels).increment(1);
}

/// Shows whether a gateway is told of changes of hosts.
pub fn directory_fresh(is_fresh: bool) {
    metrics::gauge!("hamlet_directory_fresh").set(if is_fresh { 1.0 } else { 0.0 });
}

/// Shows whether requests go to this address of a backend.
pub fn backend_serves(address: &str, serves: bool) {
    let labels = [("address", address.to_owned())];
    metrics::gauge!("hamlet_backend_serves", &labels).set(if serves { 1.0 } else { 0.0 });
    let name = "hamlet_backend_circuit_openings_total";
    metrics::counter!(name, &labels).increment(u64::from(!serves));
}

const DOOR_CONNECTIONS: &str = "hamlet_door_connections";
const DOOR_TUNNELS: &str = "hamlet_door_tunnels";
const BACKEND_CONNECTIONS: &str = "hamlet_backend_connections";
const BACKEND_TUNNELS: &str = "hamlet_backend_tunnels";

/// Something that counts as in use until this is dropped.
#[derive(Debug)]
#[must_use = "it counts until it is dropped"]
pub struct InUse(metrics::Gauge);

impl InUse {
    fn begin(gauge: metrics::Gauge) -> Self {
        gauge.increment(1.0);
        Self(gauge)
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

/// Shows what is in use at a door, before anything is.
pub fn door_opens(door: &'static str) {
    metrics::gauge!(DOOR_CONNECTIONS, "door" => door).increment(0.0);
    metrics::gauge!(DOOR_TUNNELS, "door" => door).increment(0.0);
}

/// Counts a connection at a door.
pub fn door_connection(door: &'static str) -> InUse {
    InUse::begin(metrics::gauge!(DOOR_CONNECTIONS, "door" => door))
}

/// Counts a connection at a door that became a tunnel.
pub fn door_tunnel(door: &'static str) -> InUse {
    InUse::begin(metrics::gauge!(DOOR_TUNNELS, "door" => door))
}

/// Counts a connection for requests to this address of a backend.
pub fn backend_connection(address: &str) -> InUse {
    InUse::begin(metrics::gauge!(BACKEND_CONNECTIONS, "address" => address.to_owned()))
}

/// Counts a tunnel to this address of a backend.
pub fn backend_tunnel(address: &str) -> InUse {
    InUse::begin(metrics::gauge!(BACKEND_TUNNELS, "address" => address.to_owned()))
}

/// Counts a request that is no gRPC and was answered so.
pub fn page(door: &'static str, status: StatusCode) {
    metrics::counter!(
        "hamlet_http_requests_total",
        "door" => door,
        "status" => status.as_u16().to_string()
    )
    .increment(1);
}

/// Shows when the first of a door's certificates expires, in seconds of Unix time.
pub fn certificates_expire(door: &'static str, at: i64) {
    #[expect(
        clippy::cast_precision_loss,
        reason = "a double counts seconds exactly for longer than certificates last"
    )]
    metrics::gauge!("hamlet_certificate_expiry_timestamp_seconds", "door" => door).set(at as f64);
}
