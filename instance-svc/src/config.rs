//! The settings of the instance service.

use std::{path::PathBuf, time::Duration};

use process_kit::duration;

use crate::domain::name::Name;

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
    /// How many instances are created at once; further creations wait in a queue.
    #[arg(
        long,
        env = "HAMLET_CREATIONS_AT_ONCE",
        default_value_t = 16,
        value_name = "COUNT",
        value_parser = clap::value_parser!(u16).range(1..)
    )]
    pub creations_at_once: u16,
    /// How long the installation of one app may take when an instance is created, as in 30s.
    #[arg(
        long,
        env = "HAMLET_APP_TIME_LIMIT",
        default_value = "30s",
        value_name = "TIME",
        value_parser = duration::some_or_seconds
    )]
    pub app_time_limit: Duration,
    /// How long a creation that cannot go on is tried again before it is undone, as in 10m.
    #[arg(
        long,
        env = "HAMLET_CREATION_PATIENCE",
        default_value = "10m",
        value_name = "TIME",
        value_parser = duration::some_or_seconds
    )]
    pub creation_patience: Duration,
    /// How long operations are kept after their end, as in 12h or 7d.
    #[arg(
        long,
        env = "HAMLET_OPERATIONS_KEPT",
        default_value = "7d",
        value_name = "TIME",
        value_parser = duration::or_days
    )]
    pub operations_kept: Duration,
    /// For how many days the link is valid by which an owner chooses the first passphrase.
    #[arg(
        long,
        env = "HAMLET_REGISTER_LINK_DAYS",
        default_value_t = 7,
        value_name = "DAYS",
        value_parser = clap::value_parser!(u16).range(1..=3650)
    )]
    pub register_link_days: u16,
    /// How hard a passphrase in plain text has to be to guess, from 0 (anything) to 4 (very hard), by the scores of
    /// zxcvbn. A browser sends no plain text; its page has a check of its own.
    #[arg(
        long,
        env = "HAMLET_PASSPHRASE_SCORE",
        default_value_t = 2,
        value_name = "SCORE",
        value_parser = clap::value_parser!(u8).range(..=4)
    )]
    pub passphrase_score: u8,
    /// The port by which browsers reach the public door, if it is in the domains of instances. A new instance whose domain
    /// has another port is warned of, since its links lead nowhere, and so is one that is shown.
    #[arg(
        long,
        env = "HAMLET_PUBLIC_PORT",
        value_name = "PORT",
        value_parser = clap::value_parser!(u16).range(1..)
    )]
    pub public_port: Option<u16>,
    /// The admin door of the original, as in http://localhost:6060. It is asked to destroy instances with accounts at other
    /// services that only a script of their konnector can delete there. By default none.
    #[arg(long, env = "HAMLET_ADMIN_BACKEND", value_name = "URL")]
    pub admin_backend: Option<String>,
    /// The file with the password of that door.
    #[arg(long, env = "HAMLET_ADMIN_BACKEND_PASSWORD_FILE", value_name = "FILE")]
    pub admin_backend_password_file: Option<PathBuf>,
    /// When this is not empty, instances can be neither added nor destroyed; callers are told this text.
    #[arg(
        long,
        env = "HAMLET_DISABLE_INSTANCES_ADD_RM",
        default_value = "",
        hide_default_value = true,
        value_name = "WHY"
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

impl Scheme {
    /// Its name in an address.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        service_kit::config::defaults()
    }
}

impl Config {
    /// Where a browser finds an instance, with a final slash.
    #[must_use]
    pub fn url_of(&self, domain: &str) -> String {
        format!("{}://{domain}/", self.instance_scheme.name())
    }

    /// The warning for a name at whose port no public door is known to be. A name without a port has that of the scheme;
    /// over https something in front of the door usually has it.
    pub(crate) fn out_of_reach(&self, name: &Name) -> Option<String> {
        let public = self.public_port?;
        let port = match (name.port(), self.instance_scheme) {
            (Some(port), _) => port,
            (None, Scheme::Http) => 80,
            (None, Scheme::Https) => return None,
        };
        (port != public).then(|| {
            format!(
                "links to {name} lead nowhere unless something forwards port {port}: the public door is at port {public}"
            )
        })
    }

    pub(crate) const fn app_time_limit(&self) -> Duration {
        self.app_time_limit
    }

    pub(crate) const fn creation_patience(&self) -> Duration {
        self.creation_patience
    }

    pub(crate) const fn register_link_life(&self) -> Duration {
        Duration::from_secs(self.register_link_days as u64 * 86_400)
    }

    pub(crate) const fn operations_kept(&self) -> Duration {
        self.operations_kept
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use super::{Config, Scheme};

    #[test]
    fn a_name_that_leads_to_another_port_is_warned_of() {
        let warns = |instance_scheme, public_port, name: &str| {
            let config = Config {
                instance_scheme,
                public_port,
                ..Config::default()
            };
            config.out_of_reach(&name.parse().unwrap()).is_some()
        };
        assert!(warns(Scheme::Http, Some(18080), "a.localhost"));
        assert!(warns(Scheme::Http, Some(18080), "a.localhost:8080"));
        assert!(warns(Scheme::Https, Some(8080), "a.example:8443"));
        assert!(!warns(Scheme::Http, Some(18080), "a.localhost:18080"));
        assert!(!warns(Scheme::Http, Some(80), "a.localhost"));
        assert!(!warns(Scheme::Https, Some(8080), "a.example"));
        assert!(!warns(Scheme::Http, None, "a.localhost:1"));
    }
}
