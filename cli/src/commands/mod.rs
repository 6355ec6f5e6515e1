//! The commands, one module a group.

mod add;
mod apps;
mod destroy;
mod files;
mod instances;
mod operations;
mod status;

use clap::CommandFactory as _;

use crate::{
    args::{Cli, Command},
    failure::Failure,
    output,
    session::Session,
};

/// Does what was asked.
///
/// # Errors
/// Why it was not done.
pub(crate) async fn run(cli: Cli) -> Result<(), Failure> {
    if let Command::Completions { shell } = cli.command {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Cli::command(), "hamlet", &mut script);
        return output::print(&String::from_utf8_lossy(&script));
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
