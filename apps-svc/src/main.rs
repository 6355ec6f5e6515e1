//! The apps service as a program of its own.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    apps_svc::program::run(std::env::args_os()).await
}
