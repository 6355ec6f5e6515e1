//! The instance service as a program of its own.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    instance_svc::program::run(std::env::args_os()).await
}
