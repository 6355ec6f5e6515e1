//! `hamlet-setup`: what a fresh installation needs once.

use std::process::ExitCode;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    setup::run(std::env::args_os()).await
}
