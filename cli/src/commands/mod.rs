//! The commands, one module a group.

mod apps;
mod change;
mod files;
mod instances;
mod operations;
mod outcome;
mod status;

use std::env;

use clap::CommandFactory as _;

use crate::{
    args::{Cli, Command, Instances},
    failure::Failure,
    output,
    session::Session,
};

/// Set to anything but nothing, instances are neither added nor destroyed from here.
const DISABLE: &str = "HAMLET_DISABLE_INSTANCES_ADD_RM";

/// Does what was asked.
///
/// # Errors
/// Why it was not done.
pub(crate) async fn run(cli: Cli) -> Result<(), Failure> {
    match &cli.command {
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "hamlet", &mut script);
            return output::print(&String::from_utf8_lossy(&script));
        }
        Command::Instances(Instances::Ls(wanted)) if wanted.available_fields => {
            return instances::available_fields();
        }
        Command::Instances(Instances::Add(_)) => refuse_if_disabled("add")?,
        Command::Instances(Instances::Destroy(_)) => refuse_if_disabled("destroy")?,
        _ => {}
    }
    let session = Session::find(&cli)?;
    let format = cli.output;
    match cli.command {
        Command::Instances(command) => instances::run(&session, format, command).await,
        Command::Operations(command) => operations::run(&session, format, command).await,
        Command::Files(command) => files::run(&session, format, command).await,
        Command::Apps(command) => apps::run(&session, format, command).await,
        Command::Status => status::run(&session, format).await,
        // Done above: it needs no server.
        Command::Completions { .. } => Ok(()),
    }
}

fn refuse_if_disabled(command: &str) -> Result<(), Failure> {
    match env::var_os(DISABLE) {
        Some(why) if !why.is_empty() => Err(Failure::NotAllowed(format!(
            "`instances {command}` is disabled here: {} ({DISABLE} is set)",
            why.to_string_lossy()
        ))),
        _ => Ok(()),
    }
}
