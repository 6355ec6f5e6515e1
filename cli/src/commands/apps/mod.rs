//! `hamlet apps` and `hamlet konnectors`: the same commands for the two kinds of apps.

mod install;
mod ls;
pub(super) mod show;
pub(super) mod targets;
mod uninstall;
mod update;

use clap::Subcommand;
use hamlet_proto::hamlet::apps::v1::app;

use crate::{error::CommandError, flags::global::GlobalFlags};

/// See, install, update and remove the apps of instances.
#[derive(Debug, Subcommand)]
#[command(arg_required_else_help = true)]
pub(crate) enum Apps {
    Ls(ls::Ls),
    Show(show::Show),
    Install(install::Install),
    Update(update::Update),
    Uninstall(uninstall::Uninstall),
}

impl Apps {
    /// Runs the command that was given, for apps of this kind.
    pub(crate) async fn run(
        self,
        global: &GlobalFlags,
        kind: app::Kind,
    ) -> Result<(), CommandError> {
        match self {
            Self::Ls(arguments) => arguments.run(global, kind).await,
            Self::Show(arguments) => arguments.run(global, kind).await,
            Self::Install(arguments) => arguments.run(global, kind).await,
            Self::Update(arguments) => arguments.run(global, kind).await,
            Self::Uninstall(arguments) => arguments.run(global, kind).await,
        }
    }
}
