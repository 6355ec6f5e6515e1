//! `hamlet completions`.

use clap::Args;

use crate::{completion, error::CommandError, flags::global::GlobalFlags, output};

/// Print a script by which a shell completes commands.
///
/// It completes flags, names of fields, and the domains of the installation that commands use. The shell calls hamlet
/// for it, so load the script anew after an update.
#[derive(Args, Debug)]
#[command(
    visible_alias = "completion",
    after_help = "Examples:\n  mkdir -p ~/.local/share/bash-completion/completions\n  hamlet completions bash > ~/.local/share/bash-completion/completions/hamlet\n  hamlet completions fish > ~/.config/fish/completions/hamlet.fish"
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
        output::print(&completion::script(self.shell)?)
    }
}
