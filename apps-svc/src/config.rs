//! The settings of the apps service.

use std::path::PathBuf;

/// The settings of the apps service.
#[derive(Clone, Debug, clap::Args)]
pub struct Config {
    /// The folder of the contents of apps.
    #[arg(long, env = "HAMLET_CONTENTS", value_name = "DIR")]
    pub contents: PathBuf,
}
