//! `hamletd`: a whole Hamlet installation in one process, under one data folder.

mod demo;
mod door;
mod folder;
mod installation;
mod program;
mod settings;

use std::process::ExitCode;

use settings::Settings;

fn main() -> ExitCode {
    // The process that runs JavaScript of the embedded database is this program too.
    embedded_couchdb::javascript::run_as_child().unwrap_or_else(run)
}

#[tokio::main]
async fn run() -> ExitCode {
    service_kit::program::run::<Settings>(std::env::args_os()).await
}
