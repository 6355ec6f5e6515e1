//! `hamlet`, the command line of Hamlet: a thin gRPC client of the admin door.
//!
//! - [`args`]: the commands, their flags and the manual
//! - [`values`]: the values of flags, checked before anything is sent
//! - [`discovery`]: which server, and with which credential
//! - [`session`]: the connection, and calls that outlast a short loss of it
//! - [`operation`]: following a long-running operation to its end
//! - [`commands`]: one module a group of commands
//! - [`output`], [`table`], [`text`]: what is printed, and how
//! - [`failure`]: what went wrong, as a line and an exit code

mod args;
mod commands;
mod discovery;
mod failure;
mod operation;
mod output;
mod session;
mod table;
mod text;
mod values;

use std::process::ExitCode;

use clap::Parser as _;

use crate::{args::Cli, failure::Failure};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Failed(format!("cannot start: {error}")));
    match runtime.and_then(|runtime| runtime.block_on(commands::run(cli))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.tell();
            ExitCode::from(failure.exit_code())
        }
    }
}
