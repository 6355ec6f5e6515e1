//! Logs, traces and metrics of a server.
//!
//! Logs go to stderr; stdout is for a program's output. Traces go to an OpenTelemetry collector and
//! metrics are served to Prometheus, if configured. Callers never choose the label of a metric, so the
//! number of labels is bounded.

mod calls;
mod error;
mod floods;
mod http_code;
mod ids;
mod log;
mod metrics;
mod trace;

use std::{
    io::{self, IsTerminal as _},
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
};

use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio_util::sync::CancellationToken;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::{
    EnvFilter, Layer as _,
    layer::{Identity, SubscriberExt as _},
    util::SubscriberInitExt as _,
};

use self::floods::Floods;
pub use self::{
    calls::{Call, CallsLayer, Observed, Trace, operation_span},
    error::Error,
    ids::Ids,
    log::debug_this_call,
    metrics::{
        InUse, backend_connection, backend_serves, backend_tunnel, certificates_expire, counted,
        directory_fresh, door_connection, door_opens, door_tunnel, mail, operation_step, page,
    },
    trace::{inject, traceparent},
};

/// The format of logs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// One JSON object a line, for programs.
    Json,
}

/// The settings of logs, traces and metrics.
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
    /// The format of logs: `text` for people, `json` for programs.
    #[arg(
        long,
        env = "HAMLET_LOG_FORMAT",
        default_value = "text",
        value_name = "FORMAT"
    )]
    pub log_format: LogFormat,
    /// The OpenTelemetry collector that receives traces over gRPC, as in http://collector:4317. By default
    /// no traces are sent.
    #[arg(long, env = "HAMLET_OTLP_ENDPOINT", value_name = "URL")]
    pub otlp_endpoint: Option<String>,
    /// The address on which metrics are served to Prometheus, at the path /metrics. By default none.
    #[arg(
        long,
        env = "HAMLET_METRICS_LISTEN",
        value_name = "ADDR",
        value_parser = process_kit::address::parse
    )]
    pub metrics_listen: Option<SocketAddr>,
}

/// Running telemetry.
#[derive(Debug)]
pub struct Telemetry {
    /// `None` when no traces are sent.
    traces: Option<SdkTracerProvider>,
    floods: Arc<Floods>,
}

/// The directives of the setting `log`, with those that it leaves out.
///
/// What `h2` and `hyper` warn of is what a stranger does on a connection, and can do at will: their errors alone are
/// logged, unless the setting names them or asks for everything at `debug` or `trace`.
fn directives(log: &str) -> String {
    let asks_for_everything = log
        .split(',')
        .filter_map(|directive| directive.trim().parse::<LevelFilter>().ok())
        .any(|level| level > LevelFilter::INFO);
    if asks_for_everything {
        log.to_owned()
    } else {
        format!("h2=error,hyper=error,{log}")
    }
}

/// Starts telemetry for the server `name`. Has to be called within the runtime; metrics are served until
/// `shutdown`.
///
/// # Errors
/// Also when it is called twice.
pub async fn init(
    name: &'static str,
    flags: &TelemetryFlags,
    shutdown: &CancellationToken,
) -> Result<Telemetry, Error> {
    let filter = EnvFilter::try_new(directives(&flags.log)).map_err(|source| Error::Filter {
        filter: flags.log.clone(),
        source,
    })?;
    let is_verbose = filter
        .max_level_hint()
        .is_none_or(|level| level > LevelFilter::INFO);
    let floods = Floods::watched();
    let filter = log::LogFilter::new(filter, Arc::clone(&floods));
    let endpoint = flags.otlp_endpoint.as_deref();
    let traces = endpoint
        .map(|endpoint| trace::provider(name, endpoint))
        .transpose()?;
    calls::LOOKED_AT.store(is_verbose || traces.is_some(), Ordering::Relaxed);
    let registry = tracing_subscriber::registry()
        .with(match &traces {
            Some(traces) => trace::layer(traces).boxed(),
            // A layer that is not there, as `None`, would count as one that wants everything.
            None => Identity::new().with_filter(LevelFilter::OFF).boxed(),
        })
        .with(log::marks());
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
    Ok(Telemetry { traces, floods })
}

impl Telemetry {
    /// Sends the remaining traces, for at most one second, and tells which lines of the log were left out.
    pub async fn end(self) {
        self.floods.tell();
        let Some(traces) = self.traces else {
            return;
        };
        // Blocks until the collector has answered.
        let ending = tokio::task::spawn_blocking(move || {
            traces.shutdown_with_timeout(std::time::Duration::from_secs(1))
        });
        match ending.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the last traces could not be sent"),
            Err(error) => tracing::warn!(%error, "the last traces could not be sent"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::directives;

    #[test]
    fn what_a_stranger_does_on_a_connection_is_not_logged() {
        assert_eq!(directives("info"), "h2=error,hyper=error,info");
        assert_eq!(
            directives("warn,gateway=debug"),
            "h2=error,hyper=error,warn,gateway=debug"
        );
    }

    #[test]
    fn who_asks_for_everything_gets_it() {
        for log in ["trace", "DEBUG", "gateway=info, debug"] {
            assert_eq!(directives(log), log);
        }
    }

    #[test]
    fn a_named_library_is_logged_as_the_setting_says() {
        // Of two directives for one target the later one counts.
        assert!(directives("info,h2=trace").ends_with("h2=trace"));
    }
}
