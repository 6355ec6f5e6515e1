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
            #[expect(clippy::print_stderr, reason = "the error message of the program")]
            {
                eprintln!("embedded-couchdb: {message}");
            }
            ExitCode::FAILURE
        }
    }
}
