//! `hamlet apps`.

mod ls;
mod show;

use super::group::command_group;

command_group! {
    /// See the apps of an instance.
    #[command(arg_required_else_help = true)]
    Apps {
        Ls(ls::Ls),
        Show(show::Show),
    }
}
