//! `hamlet operations`.

use clap::Subcommand;

use crate::values;

/// Commands for operations.
#[derive(Debug, Subcommand)]
pub(crate) enum Operations {
    /// List operations, newest first.
    ///
    /// Columns: operation, kind, domain, phase, how many go before it in the line, the step at work, how often that
    /// step was tried, why the last try failed.
    #[command(
        visible_alias = "list",
        after_help = "Examples:\n  hamlet operations ls\n  hamlet operations ls --running"
    )]
    Ls {
        /// Only those that have not ended.
        #[arg(long)]
        running: bool,
    },
    /// Show one: its steps, tries and last error.
    #[command(
        after_help = "Examples:\n  hamlet operations show 0198f3c2\n  hamlet operations show 0198f3c2 -o json"
    )]
    Show {
        /// Its id, as `operations ls` shows it.
        #[arg(value_parser = values::names::operation)]
        operation: String,
    },
    /// Follow one to its end.
    ///
    /// Prints what came of it and ends with the exit code of the command that began it.
    #[command(after_help = "Examples:\n  hamlet operations wait 0198f3c2")]
    Wait {
        /// Its id, as `operations ls` shows it.
        #[arg(value_parser = values::names::operation)]
        operation: String,
    },
    /// Ask one to stop and to take back what it did.
    ///
    /// Exit code 4 when it is too late for that: the error says why. The operation ends by itself soon after; follow
    /// it with `operations wait`.
    #[command(after_help = "Examples:\n  hamlet operations cancel 0198f3c2")]
    Cancel {
        /// Its id, as `operations ls` shows it.
        #[arg(value_parser = values::names::operation)]
        operation: String,
    },
    /// Let one that waits for its next try go on at once.
    #[command(after_help = "Examples:\n  hamlet operations retry 0198f3c2")]
    Retry {
        /// Its id, as `operations ls` shows it.
        #[arg(value_parser = values::names::operation)]
        operation: String,
    },
}
