//! Why telemetry cannot start.

use std::{io, net::SocketAddr};

/// Why telemetry cannot start.
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
    /// Logging has been started before.
    #[error("logging has begun already")]
    Twice(#[from] tracing_subscriber::util::TryInitError),
    /// The address of the collector cannot be used.
    #[error("otlp-endpoint: {endpoint:?} cannot be used; it looks like http://host:4317")]
    Collector {
        /// What was given.
        endpoint: String,
        /// What is wrong with it.
        #[source]
        source: Option<opentelemetry_otlp::ExporterBuildError>,
    },
    /// Metrics cannot be served on this address.
    #[error("metrics-listen: cannot listen on {address}: {source}")]
    Metrics {
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// Metrics have been started before.
    #[error("metrics have begun already")]
    MetricsTwice(#[from] metrics_exporter_prometheus::BuildError),
}
