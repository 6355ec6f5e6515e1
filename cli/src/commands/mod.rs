//! The commands: one file a command, with its arguments, its help and what it does; one folder a group.
//!
//! A new command is a file and its lines in the `mod.rs` beside it.

mod apps;
mod completions;
mod contexts;
mod features;
mod files;
mod group;
mod instances;
mod man;
mod operations;
mod status;
mod use_server;
mod version;

use clap::{Parser, Subcommand};
use hamlet_proto::hamlet::apps::v1::app;

use crate::{
    error::CommandError,
    flags::{
        format::Format,
        global::{GlobalFlags, Typed},
    },
};

/// Administers an installation of Hamlet.
///
/// The server is the first of these: the installation that --at names or the server of --server, then that of HAMLET_AT
/// or HAMLET_SERVER, the hamletd of the folder that HAMLET_DATA names, the installation that `hamlet use` chose, the
/// hamletd of the folder hamlet-data here or above. A flag comes before every variable. A credential found in such a
/// folder is sent to that server only.
///
/// Data goes to stdout, everything else to stderr. A header and progress are shown on a terminal only; an empty cell
/// of a table is a dash.
///
/// Exit codes: 0 done, 1 failed, 2 wrong use, 3 not found, 4 exists or conflict, 5 not allowed, 6 unavailable or too
/// late, 130 stopped by Ctrl-C.
#[derive(Debug, Parser)]
#[command(
    name = "hamlet",
    version,
    arg_required_else_help = true,
    subcommand_required = true,
    max_term_width = 120,
    after_help = "Examples:
  hamlet instances add bob.localhost:8080 --locale de --apps home \\
      --public-name Bob
  hamlet instances ls -o json | jq -r .domain
  hamlet files tree bob.localhost:8080
  hamlet status"
)]
pub(crate) struct Cli {
    #[command(flatten)]
    global: GlobalFlags,
    #[command(subcommand)]
    command: Command,
}

impl Cli {
    /// The format that answers and errors have.
    pub(crate) fn format(&self) -> Format {
        self.global.output
    }

    /// The command, with the knowledge of which flags were typed.
    pub(crate) fn with_typed(mut self, typed: Typed) -> Self {
        self.global.typed = typed;
        self
    }

    /// The flags of every command.
    pub(crate) fn into_global(self) -> GlobalFlags {
        self.global
    }

    /// Runs the command that was given.
    pub(crate) async fn run(self) -> Result<(), CommandError> {
        self.command.run(&self.global).await
    }
}

/// The groups of commands, and commands without a group.
#[derive(Debug, Subcommand)]
enum Command {
    #[command(subcommand)]
    Instances(instances::Instances),
    #[command(subcommand)]
    Operations(operations::Operations),
    #[command(subcommand)]
    Files(files::Files),
    #[command(subcommand)]
    Apps(apps::Apps),
    /// See, install, update and remove konnectors, which the original runs.
    #[command(subcommand, visible_alias = "konnector", mut_subcommands = of_konnectors)]
    Konnectors(apps::Apps),
    #[command(subcommand)]
    Contexts(contexts::Contexts),
    #[command(subcommand)]
    Features(features::Features),
    Status(status::Status),
    Version(version::Version),
    Use(use_server::Use),
    Completions(completions::Completions),
    Man(man::Man),
}

/// A command of `hamlet apps`, with the examples of `hamlet konnectors`.
fn of_konnectors(command: clap::Command) -> clap::Command {
    let help = command.get_after_help().map(ToString::to_string);
    match help {
        Some(help) => command.after_help(
            help.replace("hamlet apps ", "hamlet konnectors ")
                .replace(" home", " bank")
                .replace("//home/", "//bank/")
                .replace("drive/stable --slug files", "bank/beta --slug bank")
                .replace(" bank --source", " bank \\\n      --source"),
        ),
        None => command,
    }
}

impl Command {
    async fn run(self, global: &GlobalFlags) -> Result<(), CommandError> {
        match self {
            Self::Instances(group) => group.run(global).await,
            Self::Operations(group) => group.run(global).await,
            Self::Files(group) => group.run(global).await,
            Self::Apps(group) => group.run(global, app::Kind::Webapp).await,
            Self::Konnectors(group) => group.run(global, app::Kind::Konnector).await,
            Self::Contexts(group) => group.run(global).await,
            Self::Features(group) => group.run(global).await,
            Self::Status(command) => command.run(global).await,
            Self::Version(command) => command.run(global).await,
            Self::Use(command) => command.run(global),
            Self::Completions(command) => command.run(global).await,
            Self::Man(command) => command.run(),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::Cli;

    #[test]
    fn the_definition_of_the_commands_is_valid() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_usage_fits_on_a_terminal() {
        let mut root = Cli::command();
        root.build();
        let mut commands = vec![root];
        while let Some(mut command) = commands.pop() {
            commands.extend(command.get_subcommands().cloned());
            for line in command.render_usage().to_string().lines() {
                assert!(line.len() <= 80, "{line}");
            }
        }
    }

    #[test]
    fn the_examples_of_the_help_can_be_parsed() {
        let mut commands = vec![Cli::command()];
        let mut examples = 0;
        while let Some(command) = commands.pop() {
            commands.extend(command.get_subcommands().cloned());
            let help = command
                .get_after_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            for line in help.lines() {
                // A terminal of this width breaks longer ones, and half of a command would be pasted.
                assert!(line.len() < 80, "{line}");
            }
            // A command may go on in the next line.
            let help = help.replace("\\\n", " ");
            for line in help.lines().map(str::trim) {
                let Some(line) = line.split(['|', '>']).next() else {
                    continue;
                };
                if line.starts_with("hamlet ") {
                    let read = Cli::command().try_get_matches_from(line.split_whitespace());
                    assert!(read.is_ok(), "{line}: {:?}", read.err());
                    examples += 1;
                }
            }
        }
        assert!(examples > 50, "{examples}");
    }
}
