//! The instance to change.

use clap::Args;

use super::request::{EtagFlag, RequestFlags};
use crate::values;

/// The instance to change, under which condition, and how.
#[derive(Args, Debug)]
pub(crate) struct Target {
    /// The domain or an alias.
    #[arg(value_parser = values::domain::parse)]
    pub(crate) domain: String,
    #[command(flatten)]
    pub(crate) condition: EtagFlag,
    #[command(flatten)]
    pub(crate) request: RequestFlags,
}
