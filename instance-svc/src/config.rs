//! The settings of the instance service.

use std::time::Duration;

/// The settings of the instance service.
#[derive(Clone, Debug, clap::Args)]
pub struct Config {
    /// Whether browsers reach instances over http or https.
    #[arg(
        long,
        env = "HAMLET_INSTANCE_SCHEME",
        default_value = "https",
        value_name = "SCHEME"
    )]
    pub instance_scheme: Scheme,
    /// How many creations are at work at once; the rest wait in line.
    #[arg(
        long,
        env = "HAMLET_CREATIONS_AT_ONCE",
        default_value_t = 16,
        value_name = "COUNT",
        value_parser = clap::value_parser!(u16).range(1..)
    )]
    pub creations_at_once: u16,
    /// How long one app of a creation may take, in seconds.
    #[arg(
        long,
        env = "HAMLET_APP_TIME_LIMIT",
        default_value_t = 30,
        value_name = "SECONDS",
        value_parser = clap::value_parser!(u64).range(1..)
    )]
    pub app_time_limit: u64,
    /// After how many seconds a creation that cannot go on is taken back.
    #[arg(
        long,
        env = "HAMLET_CREATION_PATIENCE",
        default_value_t = 600,
        value_name = "SECONDS",
        value_parser = clap::value_parser!(u64).range(1..)
    )]
    pub creation_patience: u64,
    /// How many days operations are kept after their end.
    #[arg(
        long,
        env = "HAMLET_OPERATIONS_KEPT",
        default_value_t = 7,
        value_name = "DAYS"
    )]
    pub operations_kept: u64,
    /// How many days the link is valid by which an owner chooses the first passphrase.
    #[arg(
        long,
        env = "HAMLET_REGISTER_LINK_DAYS",
        default_value_t = 7,
        value_name = "DAYS",
        value_parser = clap::value_parser!(u16).range(1..=3650)
    )]
    pub register_link_days: u16,
    /// When this is not empty, instances can be neither added nor destroyed.
    #[arg(
        long,
        env = "HAMLET_DISABLE_INSTANCES_ADD_RM",
        default_value = "",
        hide_default_value = true,
        value_name = "ANY"
    )]
    pub disable_instances_add_rm: String,
}

/// How browsers reach instances.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Scheme {
    /// Without TLS: for one machine.
    Http,
    /// With TLS.
    Https,
}

impl Config {
    /// Where a browser finds an instance, with a final slash.
    #[must_use]
    pub fn url_of(&self, domain: &str) -> String {
        let scheme = match self.instance_scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
        };
        format!("{scheme}://{domain}/")
    }

    pub(crate) const fn app_time_limit(&self) -> Duration {
        Duration::from_secs(self.app_time_limit)
    }

    pub(crate) const fn creation_patience(&self) -> Duration {
        Duration::from_secs(self.creation_patience)
    }

    pub(crate) const fn register_link_life(&self) -> Duration {
        Duration::from_secs(self.register_link_days as u64 * 86_400)
    }

    pub(crate) const fn operations_kept(&self) -> Duration {
        Duration::from_secs(self.operations_kept.saturating_mul(86_400))
    }
}
