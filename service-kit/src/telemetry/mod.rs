//! What a server tells about itself: logs, traces and metrics.
//!
//! Logs go to stderr; stdout belongs to what a program answers. Traces go to an OpenTelemetry collector,
//! metrics are shown to Prometheus, each where the settings say so. No label of a metric is ever chosen by
//! a caller, so that their number is bounded.

mod calls;
mod log;
mod metrics;
mod trace;

use std::{
    io::{self, IsTerminal as _},
    net::SocketAddr,
};

use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::{
    EnvFilter, Layer as _, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

pub use self::{
    calls::{Call, CallsLayer, Observed, operation_span, request_span},
    log::debug_this_call,
    metrics::{operation_step, page},
    trace::{inject, traceparent},
};

/// How logs look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// One JSON object a line, for programs.
    Json,
}

/// What a server tells about itself, and to whom.
#[derive(Clone, Debug, clap::Args)]
pub struct TelemetryFlags {
    /// What to log, as in `info` or `info,instance_svc=debug`.
    #[arg(
        long,
        env = "HAMLET_LOG",
        default_value = "info",
        value_name = "FILTER"
    )]
    pub log: String,
    /// How logs look.
    #[arg(
        long,
        env = "HAMLET_LOG_FORMAT",
        default_value = "text",
        value_name = "FORMAT"
    )]
    pub log_format: LogFormat,
    /// Where an OpenTelemetry collector takes traces over gRPC, as in http://collector:4317. By default
    /// traces go nowhere.
    #[arg(long, env = "HAMLET_OTLP_ENDPOINT", value_name = "URL")]
    pub otlp_endpoint: Option<String>,
    /// Where metrics are shown to Prometheus, at the path /metrics. By default nowhere.
    #[arg(long, env = "HAMLET_METRICS_LISTEN", value_name = "ADDR")]
    pub metrics_listen: Option<SocketAddr>,
}

/// Why a server cannot tell about itself.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The filter cannot be read.
    #[error("log: {filter:?} is not a filter; it looks like info,instance_svc=debug")]
    Filter {
        /// What was given.
        filter: String,
        /// What is wrong with it.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    /// Something logs already.
    #[error("logging has begun already")]
    Twice(#[from] tracing_subscriber::util::TryInitError),
    /// The collector cannot be reached by this address.
    #[error("otlp-endpoint: {endpoint:?} cannot be used; it looks like http://host:4317")]
    Collector {
        /// What was given.
        endpoint: String,
        /// What is wrong with it.
        #[source]
        source: Option<opentelemetry_otlp::ExporterBuildError>,
    },
    /// Metrics cannot be shown at this address.
    #[error("metrics-listen: cannot listen on {address}: {source}")]
    Metrics {
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// Something counts already.
    #[error("metrics have begun already")]
    MetricsTwice(#[from] metrics_exporter_prometheus::BuildError),
}

/// What tells about a server as long as it runs.
#[derive(Debug)]
pub struct Telemetry {
    traces: SdkTracerProvider,
}

/// Begins to tell about the server called `name`. To be called in the runtime; metrics are shown until
/// `shutdown`.
///
/// # Errors
/// When a setting cannot be used, or when it is called twice.
pub async fn init(
    name: &'static str,
    flags: &TelemetryFlags,
    shutdown: &CancellationToken,
) -> Result<Telemetry, Error> {
    let filter = EnvFilter::try_new(&flags.log).map_err(|source| Error::Filter {
        filter: flags.log.clone(),
        source,
    })?;
    let filter = log::LogFilter::new(filter);
    let traces = trace::provider(name, flags.otlp_endpoint.as_deref())?;
    let registry = tracing_subscriber::registry()
        .with(trace::layer(&traces))
        .with(log::Marks);
    match flags.log_format {
        LogFormat::Text => registry
            .with(
                tracing_subscriber::fmt::layer()
                    .with_writer(io::stderr)
                    .with_ansi(io::stderr().is_terminal())
                    .with_filter(filter),
            )
            .try_init()?,
        LogFormat::Json => registry
            .with(
                tracing_subscriber::fmt::layer()
                    .event_format(log::Json)
                    .with_writer(io::stderr)
                    .with_filter(filter),
            )
            .try_init()?,
    }
    if let Some(address) = flags.metrics_listen {
        metrics::show(address, shutdown.clone()).await?;
    }
    Ok(Telemetry { traces })
}

impl Telemetry {
    /// Sends what is left to be sent.
    pub async fn end(self) {
        // It waits for the collector on a thread of its own.
        let ending = tokio::task::spawn_blocking(move || {
            self.traces
                .shutdown_with_timeout(std::time::Duration::from_secs(1))
        });
        match ending.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the last traces could not be sent"),
            Err(error) => tracing::warn!(%error, "the last traces could not be sent"),
        }
    }
}
