//! `hamlet apps`.

use clap::Subcommand;

use crate::values;

/// Commands for apps.
#[derive(Debug, Subcommand)]
pub(crate) enum Apps {
    /// List installed web apps, sorted by slug.
    ///
    /// Columns: slug, version, state, source.
    #[command(
        visible_alias = "list",
        after_help = "Examples:\n  hamlet apps ls bob.localhost:8080"
    )]
    Ls {
        /// The instance's domain.
        #[arg(value_parser = values::domain::parse)]
        domain: String,
    },
    /// Show one.
    #[command(after_help = "Examples:\n  hamlet apps show bob.localhost:8080 home")]
    Show {
        /// The instance's domain.
        #[arg(value_parser = values::domain::parse)]
        domain: String,
        /// The app's slug.
        #[arg(value_parser = values::names::slug)]
        slug: String,
    },
}
