//! The command line of `hamlet-setup`.

use std::{error::Error, ffi::OsString, path::PathBuf, process::ExitCode};

use clap::{CommandFactory as _, Parser, Subcommand};

use process_kit::arguments;

use crate::{couchdb, secrets};

/// Prepares an installation of Hamlet. Every command may be repeated: what is done is left as it is.
#[derive(Debug, Parser)]
#[command(name = "hamlet-setup", version, max_term_width = 120)]
struct Flags {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Makes each file that is missing, with a new random secret that only its owner can read.
    ///
    /// Services have to run as the same user as this command to read them.
    Secrets {
        /// The files. Their folders have to exist.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Waits for CouchDB and sets it up: one URL is a single node, several are the nodes of a cluster.
    ///
    /// The nodes of a cluster are called couchdb@HOST, have the same administrator and password, and share
    /// Erlang's cookie.
    Couchdb(couchdb::Settings),
    /// Puts a new random secret into each file. Servers use it within seconds, and accept the old one for a while.
    ///
    /// Not for CouchDB's password, which CouchDB has to know as well.
    RenewSecrets {
        /// The files.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Gives CouchDB's administrator a new random password, on each node and in the file, while services go on.
    ///
    /// When it is interrupted, run it again.
    // As clap writes it, in two lines: in one, it is longer than a terminal is wide.
    #[command(
        override_usage = "hamlet-setup renew-couchdb-password [OPTIONS]\n       --couchdb-password-file <FILE> <URL>..."
    )]
    RenewCouchdbPassword(couchdb::Settings),
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
enum CommandError {
    #[error(transparent)]
    Secrets(#[from] secrets::Error),
    #[error(transparent)]
    Couchdb(#[from] couchdb::Error),
}

/// The command line, for the generated manual.
#[must_use]
pub fn command() -> clap::Command {
    Flags::command()
}

/// Runs the program. Exit codes: 0 success, 1 failure, 2 usage error.
pub async fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    let flags: Flags = arguments::parse(&args).unwrap_or_else(|error| error.exit());
    let done = match flags.command {
        Command::Secrets { files } => secrets::make_missing(&files).map_err(CommandError::from),
        Command::RenewSecrets { files } => secrets::renew(&files).map_err(CommandError::from),
        Command::Couchdb(settings) => couchdb::set_up(&settings).await.map_err(CommandError::from),
        Command::RenewCouchdbPassword(settings) => couchdb::renew_password(&settings)
            .await
            .map_err(CommandError::from),
    };
    match done {
        Ok(done) => {
            for line in done {
                #[expect(clippy::print_stdout, reason = "the output of the command")]
                {
                    println!("{line}");
                }
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            #[expect(clippy::print_stderr, reason = "the error message for the user")]
            {
                eprintln!("error: {}", chain(&error));
            }
            ExitCode::FAILURE
        }
    }
}

/// An error and its causes in one line.
fn chain(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line.push_str(": ");
        line.push_str(&error.to_string());
        cause = error.source();
    }
    line
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_commands_fit_together() {
        super::command().debug_assert();
    }
}
