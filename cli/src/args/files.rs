//! `hamlet files`.

use clap::Subcommand;

use crate::values;

/// Commands for files.
#[derive(Debug, Subcommand)]
pub(crate) enum Files {
    /// List a directory, sorted by name.
    ///
    /// Columns: name, kind, size, id.
    #[command(
        visible_alias = "list",
        after_help = "Examples:\n  hamlet files ls bob.localhost:8080\n  hamlet files ls bob.localhost:8080 /Fotos"
    )]
    Ls {
        /// The instance's domain.
        #[arg(value_parser = values::domain::parse)]
        domain: String,
        /// The directory.
        #[arg(default_value = "/", value_parser = values::names::path)]
        path: String,
    },
    /// Show a directory and all below it.
    #[command(
        after_help = "Examples:\n  hamlet files tree bob.localhost:8080\n  hamlet files tree bob.localhost:8080 /Fotos --max-depth 1"
    )]
    Tree {
        /// The instance's domain.
        #[arg(value_parser = values::domain::parse)]
        domain: String,
        /// Where to begin.
        #[arg(default_value = "/", value_parser = values::names::path)]
        path: String,
        /// How deep to go; all the way by default.
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
        max_depth: Option<i32>,
    },
}
