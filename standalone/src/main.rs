//! `hamletd`: a whole Hamlet installation in one process, under one data folder.

mod demo;
mod door;
mod folder;
mod installation;
mod program;
mod settings;

use std::process::ExitCode;

use settings::Settings;

#[tokio::main]
async fn main() -> ExitCode {
    service_kit::program::run::<Settings>(std::env::args_os()).await
}
