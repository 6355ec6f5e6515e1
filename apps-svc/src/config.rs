//! The settings of the apps service.

use std::path::PathBuf;

use ipnet::IpNet;

/// The settings of the apps service.
#[derive(Clone, Debug, clap::Args)]
pub struct Config {
    /// The folder of the contents of apps.
    #[arg(long, env = "HAMLET_CONTENTS", value_name = "DIR")]
    pub contents: PathBuf,
    /// Where apps may come from.
    #[command(flatten)]
    pub sources: SourceFlags,
}

/// Where apps may come from, besides registries.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct SourceFlags {
    /// Folders of this machine below which apps may be installed by file://, separated by commas. By default only the
    /// app folder.
    #[arg(
        long,
        env = "HAMLET_APP_ROOTS",
        value_name = "DIRS",
        value_delimiter = ',',
        value_parser = process_kit::folder::existing
    )]
    pub app_roots: Vec<PathBuf>,
    /// Networks from which apps may be downloaded although their addresses are not public, such as 10.1.0.0/16,
    /// separated by commas. The registries of the configuration need no entry. A proxy that the environment names is used
    /// for registries alone: what it reaches for others could not be checked.
    #[arg(
        long,
        env = "HAMLET_APP_NETWORKS",
        value_name = "NETWORKS",
        value_delimiter = ',',
        value_parser = network
    )]
    pub app_networks: Vec<IpNet>,
}

fn network(text: &str) -> Result<IpNet, String> {
    text.parse()
        .or_else(|_| text.parse().map(|address: std::net::IpAddr| address.into()))
        .map_err(|_| {
            format!("{text:?} is no network; write one such as 10.1.0.0/16, fd00::/8 or 127.0.0.1")
        })
}
