//! `hamlet man`.

use std::{fs, path::PathBuf};

use clap::{Args, CommandFactory as _};

use super::Cli;
use crate::{
    error::CommandError,
    output::{self, say},
};

/// Print the manual page of hamlet, or write those of all commands.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  hamlet man | man -l -\n  hamlet man --to ~/.local/share/man/man1"
)]
pub(crate) struct Man {
    /// The folder for one page a command.
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
}

impl Man {
    /// Needs no server.
    pub(super) fn run(self) -> Result<(), CommandError> {
        let command = Cli::command();
        let Some(folder) = self.to else {
            let mut page = Vec::new();
            clap_mangen::Man::new(command).render(&mut page)?;
            return output::print(&String::from_utf8_lossy(&page));
        };
        let unwritable =
            |error| CommandError::Failed(format!("--to: {}: {error}", folder.display()));
        fs::create_dir_all(&folder).map_err(unwritable)?;
        clap_mangen::generate_to(command, &folder).map_err(unwritable)?;
        say(&format!("the pages are in {}", folder.display()));
        Ok(())
    }
}
