//! `embedded-couchdb --listen ADDR --data DIR`

use std::process::ExitCode;

use clap::Parser as _;
use embedded_couchdb::program::{Flags, run};

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env()
                .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info")),
        )
        .with_writer(std::io::stderr)
        .init();
    match run(Flags::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            #[expect(
                clippy::print_stderr,
                reason = "the one place that tells a person why it does not start"
            )]
            {
                eprintln!("embedded-couchdb: {message}");
            }
            ExitCode::FAILURE
        }
    }
}
