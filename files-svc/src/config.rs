//! The settings of the files service.

use std::path::PathBuf;

/// The settings of the files service.
#[derive(Clone, Debug, clap::Args)]
pub struct Config {
    /// The folder of the bytes of files.
    #[arg(long, env = "HAMLET_CONTENTS", value_name = "DIR")]
    pub contents: PathBuf,
}
