//! `hamlet`, the command line of Hamlet: a thin gRPC client of the admin door.
//!
//! - [`args`]: the commands, their flags and the manual
//! - [`values`], [`fields`]: the values of flags, checked before anything is sent
//! - [`discovery`]: which server, and with which credential
//! - [`session`]: the connection, and calls that outlast a short loss of it
//! - [`operation`]: following a long-running operation to its end
//! - [`commands`]: one module a command or a group of small ones
//! - [`terminal`], [`passphrase`]: questions to the person at the terminal
//! - [`output`], [`table`], [`text`]: what is printed, and how
//! - [`failure`]: what went wrong, as a line and an exit code

mod args;
mod commands;
mod discovery;
mod failure;
mod fields;
mod operation;
mod output;
mod passphrase;
mod session;
mod table;
mod terminal;
mod text;
mod values;

use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};

use crate::failure::Failure;

fn main() -> ExitCode {
    let (cli, spelling) = args::parse();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Failed(format!("cannot start: {error}")));
    match runtime.and_then(|runtime| runtime.block_on(until_interrupted(cli))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.tell(&spelling);
            ExitCode::from(failure.exit_code())
        }
    }
}

/// Runs the command. One that is stopped by Ctrl-C ends in order: what it changed of the terminal is put back.
async fn until_interrupted(cli: args::Cli) -> Result<(), Failure> {
    // Heard from here on, before anything is changed.
    let mut interrupted = signal(SignalKind::interrupt())?;
    tokio::select! {
        // A command that knows better what its end means says so itself.
        biased;
        outcome = commands::run(cli) => outcome,
        _ = interrupted.recv() => Err(Failure::Interrupted("stopped".to_owned())),
    }
}
