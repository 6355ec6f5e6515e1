//! `hamlet files`.

mod ls;
mod tree;

use super::group::command_group;

command_group! {
    /// See the files of an instance.
    #[command(arg_required_else_help = true)]
    Files {
        Ls(ls::Ls),
        Tree(tree::Tree),
    }
}
