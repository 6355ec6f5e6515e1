//! `hamlet`, the command line of Hamlet: a thin gRPC client of the admin door.
//!
//! From the outside in:
//! - [`commands`]: one file a command, with its arguments, its help and what it does
//! - [`flags`], [`fields`], [`values`]: arguments that commands share, and the parsers of values
//! - [`calls`], [`change`], [`follow`]: calls that commands share, changes, and waiting for their operations
//! - [`session`], [`discovery`]: the connection, and how the server and its credential are found
//! - [`passphrase`], [`terminal`]: what is read from files, standard input and the terminal
//! - [`views`], [`output`]: what is printed, and how
//! - [`error`], [`report`], [`argument_names`]: errors, their exit codes, and how they are printed

mod argument_names;
mod calls;
mod change;
mod commands;
mod discovery;
mod error;
mod fields;
mod flags;
mod follow;
mod output;
mod passphrase;
mod report;
mod session;
mod terminal;
mod values;
mod views;

use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _};
use tokio::signal::unix::{SignalKind, signal};

use crate::{argument_names::ArgumentNames, commands::Cli, error::CommandError, report::report};

fn main() -> ExitCode {
    let command = Cli::command();
    // Ends the program when the arguments are invalid, or help is asked for.
    let matches = command.clone().get_matches();
    let names = ArgumentNames::of(&command, &matches);
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CommandError::Failed(format!("cannot start: {error}")));
    match runtime.and_then(|runtime| runtime.block_on(until_interrupted(cli))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&error, &names);
            ExitCode::from(error.exit_code())
        }
    }
}

/// Runs the command. Ctrl-C drops it, so that the terminal gets its mode back.
async fn until_interrupted(cli: Cli) -> Result<(), CommandError> {
    // Signals are caught before the command changes anything.
    let mut interrupted = signal(SignalKind::interrupt()).map_err(CommandError::Signal)?;
    tokio::select! {
        // Some commands handle Ctrl-C themselves, with a better message.
        biased;
        outcome = cli.run() => outcome,
        _ = interrupted.recv() => Err(CommandError::Interrupted("stopped".to_owned())),
    }
}
