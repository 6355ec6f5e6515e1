//! `hamlet operations`.

mod cancel;
mod ls;
mod retry;
mod show;
mod wait;

use super::group::command_group;

command_group! {
    /// See what is and was at work, wait for it, cancel it.
    #[command(visible_alias = "operation", arg_required_else_help = true)]
    Operations {
        Ls(ls::Ls),
        Show(show::Show),
        Wait(wait::Wait),
        Cancel(cancel::Cancel),
        Retry(retry::Retry),
    }
}
