//! `hamlet completions`.

use clap::{Args, CommandFactory as _};

use super::Cli;
use crate::{error::CommandError, flags::global::GlobalFlags, output};

/// Print a script that completes commands in a shell.
#[derive(Args, Debug)]
#[command(
    visible_alias = "completion",
    after_help = "Examples:\n  hamlet completions bash > ~/.local/share/bash-completion/completions/hamlet\n  hamlet completions fish > ~/.config/fish/completions/hamlet.fish"
)]
pub(crate) struct Completions {
    /// The shell.
    shell: clap_complete::Shell,
}

impl Completions {
    /// Needs no server.
    #[allow(
        clippy::unused_async,
        reason = "commands are run alike, and most wait for a server"
    )]
    pub(super) async fn run(self, _global: &GlobalFlags) -> Result<(), CommandError> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "hamlet", &mut script);
        output::print(&String::from_utf8_lossy(&script))
    }
}
