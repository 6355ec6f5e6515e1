//! `hamlet-setup` prepares a new installation.

use std::process::ExitCode;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    setup::run(std::env::args_os()).await
}
