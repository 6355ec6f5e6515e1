//! `embedded-couchdb --listen ADDR --data DIR`

use std::{io::IsTerminal as _, process::ExitCode};

use embedded_couchdb::program::{Flags, run};
use process_kit::{arguments, folder};

fn main() -> ExitCode {
    // The process that runs JavaScript is this program too. It gives up what it does not need first.
    embedded_couchdb::javascript::run_as_child().unwrap_or_else(serve)
}

#[tokio::main]
async fn serve() -> ExitCode {
    folder::keep_files_private();
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env()
                .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info")),
        )
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    let args: Vec<_> = std::env::args_os().collect();
    let flags: Flags = arguments::parse(&args).unwrap_or_else(|error| error.exit());
    match run(flags).await {
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
