//! `hamlet`, the command line of Hamlet: a thin gRPC client of the admin door.
//!
//! From the outside in:
//! - [`commands`]: one file a command, with its arguments, its help and what it does
//! - [`flags`], [`fields`], [`values`]: arguments that commands share, and the parsers of values
//! - [`calls`], [`change`], [`follow`]: calls that commands share, changes, and waiting for their operations
//! - [`session`], [`socket`], [`discovery`], [`address`], [`client_file`], [`authority`]: the connection, and how the
//!   server, its credential and its authority are found
//! - [`passphrase`], [`terminal`]: what is read from files, standard input and the terminal
//! - [`waiting`]: what a terminal shows while a server is at work
//! - [`views`], [`output`]: what is printed, and how
//! - [`completion`]: what a shell offers while a command is typed
//! - [`error`], [`report`], [`argument_names`]: errors, their exit codes, and how they are printed

mod address;
mod argument_names;
mod authority;
mod calls;
mod change;
mod client_file;
mod commands;
mod completion;
mod discovery;
mod error;
mod fields;
mod flags;
mod follow;
mod output;
mod passphrase;
mod report;
mod session;
mod socket;
mod terminal;
mod values;
mod views;
mod waiting;

use std::{ffi::OsString, process::ExitCode};

use clap::{CommandFactory as _, FromArgMatches as _};
use process_kit::arguments;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    argument_names::ArgumentNames,
    commands::Cli,
    error::CommandError,
    flags::{format::Format, global::Typed},
    report::report,
};

fn main() -> ExitCode {
    completion::complete_if_asked();
    let mut command = Cli::command();
    let args: Vec<_> = std::env::args_os().collect();
    // Ends the program when the arguments are invalid, or help is asked for.
    let matches = match arguments::matches(&mut command, &args) {
        Ok(matches) => matches,
        Err(error) => {
            if error.use_stderr() && wants_json(&args) {
                let message = report::usage_message(&error.to_string());
                output::say(&report::usage_document(
                    &message,
                    &arguments::blamed(&error),
                ));
                return ExitCode::from(2);
            }
            error.exit()
        }
    };
    let names = ArgumentNames::of(&command, &matches);
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli.with_typed(Typed::of(&matches)),
        Err(error) => error.exit(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CommandError::Failed(format!("cannot start: {error}")));
    let format = if wants_json(&args) {
        Format::Json
    } else {
        cli.format()
    };
    match runtime.and_then(|runtime| runtime.block_on(until_interrupted(cli))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&error, &names, format);
            ExitCode::from(error.exit_code())
        }
    }
}

/// Whether arguments that cannot be read ask for JSON.
fn wants_json(args: &[OsString]) -> bool {
    let words: Vec<_> = args.iter().map(|arg| arg.to_string_lossy()).collect();
    words.iter().any(|word| {
        matches!(
            word.as_ref(),
            "--json" | "-ojson" | "-o=json" | "--output=json"
        )
    }) || words
        .windows(2)
        .any(|pair| matches!(pair, [flag, value] if (flag == "-o" || flag == "--output") && value == "json"))
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
