//! The apps service as a separate program.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    service_kit::program::run::<apps_svc::program::Flags>(std::env::args_os()).await
}
