//! Logs. They go to stderr; stdout belongs to what a program answers.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::{EnvFilter, layer::SubscriberExt as _, util::SubscriberInitExt as _};

/// How logs look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// One JSON object a line, for programs.
    Json,
}

/// What is logged, and how.
#[derive(Clone, Debug, clap::Args)]
pub struct LogConfig {
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
}

/// Why logging could not begin.
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
}

/// Begins to log.
///
/// # Errors
/// When the filter cannot be read, or when it is called twice.
pub fn init(config: &LogConfig) -> Result<(), Error> {
    let filter = EnvFilter::try_new(&config.log).map_err(|source| Error::Filter {
        filter: config.log.clone(),
        source,
    })?;
    let registry = tracing_subscriber::registry().with(filter);
    match config.log_format {
        LogFormat::Text => registry
            .with(
                tracing_subscriber::fmt::layer()
                    .with_writer(io::stderr)
                    .with_ansi(io::stderr().is_terminal()),
            )
            .try_init()?,
        LogFormat::Json => registry
            .with(
                tracing_subscriber::fmt::layer()
                    .json()
                    .with_writer(io::stderr),
            )
            .try_init()?,
    }
    Ok(())
}
