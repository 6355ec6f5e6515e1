//! The settings of the gateway.

use std::{net::SocketAddr, time::Duration};

use process_kit::address;

use process_kit::duration;
use service_kit::{secret::Keyring, tls::Tls};

use crate::{exposure::ExposureFlags, route::HttpRoutes};

/// The settings of the gateway.
#[derive(Clone, Debug, clap::Args)]
pub struct Config {
    /// Where the public door listens, for HTTP/1.1 and HTTP/2: with TLS when there are --tls-certificates.
    #[arg(
        long,
        env = "HAMLET_LISTEN",
        value_name = "ADDR",
        default_value = "127.0.0.1:8080",
        value_parser = address::parse
    )]
    pub listen: SocketAddr,
    /// Where the admin door listens, which needs the admin credential.
    #[arg(
        long,
        env = "HAMLET_ADMIN_LISTEN",
        value_name = "ADDR",
        default_value = "127.0.0.1:6060",
        value_parser = address::parse
    )]
    pub admin_listen: SocketAddr,
    /// Where the instance service is: the address of each of its replicas, separated by commas, or a name that
    /// stands for several.
    #[arg(
        long,
        env = "HAMLET_INSTANCE_SERVICE",
        value_name = "URL",
        default_value = "http://127.0.0.1:7001"
    )]
    pub instance_service: String,
    /// Where the files service is, likewise.
    #[arg(
        long,
        env = "HAMLET_FILES_SERVICE",
        value_name = "URL",
        default_value = "http://127.0.0.1:7002"
    )]
    pub files_service: String,
    /// Where the apps service is, likewise.
    #[arg(
        long,
        env = "HAMLET_APPS_SERVICE",
        value_name = "URL",
        default_value = "http://127.0.0.1:7003"
    )]
    pub apps_service: String,
    /// What calls and connections may take.
    #[command(flatten)]
    pub limits: LimitFlags,
    /// Who answers requests that are no gRPC. No setting: it follows from what the services can do.
    #[arg(skip)]
    pub http_routes: HttpRoutes,
    /// How the doors are reached from outside.
    #[command(flatten)]
    pub exposure: ExposureFlags,
}

/// What calls and connections may take. A program flattens it into its settings.
#[derive(Clone, Debug, clap::Args)]
pub struct LimitFlags {
    /// How long a gRPC call may take from its first byte to its last, as in 500ms, 30s, 10m or 24h.
    /// A caller may ask for less.
    #[arg(long, env = "HAMLET_DEADLINE", value_name = "TIME", default_value = "10m", value_parser = up_to_a_day)]
    pub deadline: Duration,
    /// How long a call may wait in the queue when its instance or a service is busy.
    #[arg(long, env = "HAMLET_QUEUE_TIMEOUT", value_name = "TIME", default_value = "5s", value_parser = up_to_a_day)]
    pub queue_timeout: Duration,
    /// How long running calls may take to end after shutdown has begun.
    #[arg(long, env = "HAMLET_DRAIN", value_name = "TIME", default_value = "2500ms", value_parser = up_to_a_day)]
    pub drain: Duration,
    /// How long the resolution of a host is used without a question while the instance service does not tell of
    /// changes, 500ms at most. While it does, resolutions are used until they change.
    #[arg(long, env = "HAMLET_HOST_TTL", value_name = "TIME", default_value = "500ms", value_parser = host_ttl)]
    pub host_ttl: Duration,
    /// How long known hosts go on while the instance service does not answer, as in 5m. What was blocked stays
    /// blocked.
    #[arg(long, env = "HAMLET_HOST_GRACE", value_name = "TIME", default_value = "5m", value_parser = up_to_a_day)]
    pub host_grace: Duration,
    /// How many hosts are kept at most. 100000 take 64 MiB.
    #[arg(long, env = "HAMLET_HOST_CACHE", value_name = "COUNT", default_value_t = 100_000, value_parser = at_least_one)]
    pub host_cache: usize,
    /// How many threads serve connections; as many as there are cores by default.
    #[arg(long, env = "HAMLET_GATEWAY_THREADS", value_name = "COUNT", value_parser = at_least_one)]
    pub threads: Option<usize>,
    /// How many connections each door has at once, fewer where the process may open fewer files. A further one closes the
    /// one that has been idle longest.
    #[arg(long, env = "HAMLET_CONNECTIONS", value_name = "COUNT", default_value_t = 12_288, value_parser = at_least_one)]
    pub connections: usize,
    /// How many connections one client has at once at each door, likewise. A client is an address of IPv4, or a network of
    /// IPv6 (/64).
    #[arg(long, env = "HAMLET_CONNECTIONS_PER_CLIENT", value_name = "COUNT", default_value_t = 4096, value_parser = at_least_one)]
    pub connections_per_client: usize,
    /// How long a connection may be without requests before it is closed.
    #[arg(long, env = "HAMLET_IDLE_TIMEOUT", value_name = "TIME", default_value = "5m", value_parser = up_to_a_day)]
    pub idle_timeout: Duration,
    /// How many calls one connection of a caller may carry at once.
    #[arg(long, env = "HAMLET_STREAMS_PER_CONNECTION", value_name = "COUNT", default_value_t = 128,
          value_parser = clap::value_parser!(u32).range(1..))]
    pub streams_per_connection: u32,
    /// How many connections each door holds to each replica of a service; at least one a thread.
    #[arg(long, env = "HAMLET_UPSTREAM_CONNECTIONS", value_name = "COUNT", default_value_t = 4, value_parser = at_least_one)]
    pub upstream_connections: usize,
    /// How many calls each door sends to one service at once; more wait.
    #[arg(long, env = "HAMLET_STREAMS_PER_SERVICE", value_name = "COUNT", default_value_t = 2048, value_parser = at_least_one)]
    pub streams_per_service: usize,
    /// How many requests are at work at once at each address of a backend, each on a connection of its own; more wait.
    #[arg(long, env = "HAMLET_BACKEND_CONNECTIONS", value_name = "COUNT", default_value_t = 512, value_parser = at_least_one)]
    pub backend_connections: usize,
    /// How many tunnels (as for WebSocket) and event streams there are at once to each backend; further ones are refused.
    /// One client has half of them at most, and so has one instance.
    #[arg(long, env = "HAMLET_BACKEND_TUNNELS", value_name = "COUNT", default_value_t = 4096, value_parser = at_least_one)]
    pub backend_tunnels: usize,
    /// How many calls the public door sends to one service for one instance at once; more wait.
    #[arg(long, env = "HAMLET_STREAMS_PER_INSTANCE", value_name = "COUNT", default_value_t = 512, value_parser = at_least_one)]
    pub streams_per_instance: usize,
    /// How many calls the public door sends to one service for one client at once; more wait. An address of IPv4 is a
    /// client, and a network of IPv6 (/64).
    #[arg(long, env = "HAMLET_STREAMS_PER_CLIENT", value_name = "COUNT", default_value_t = 256, value_parser = at_least_one)]
    pub streams_per_client: usize,
    /// How many calls a second one client makes of one service at the public door; further ones are refused. By default as
    /// many as it can.
    #[arg(long, env = "HAMLET_RATE_PER_CLIENT", value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    pub rate_per_client: Option<u32>,
    /// The same for the calls for one instance.
    #[arg(long, env = "HAMLET_RATE_PER_INSTANCE", value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    pub rate_per_instance: Option<u32>,
}

impl Default for LimitFlags {
    fn default() -> Self {
        service_kit::config::defaults()
    }
}

impl Default for Config {
    fn default() -> Self {
        service_kit::config::defaults()
    }
}

/// The secrets of the gateway.
#[derive(Clone, Debug)]
pub struct Secrets {
    /// The key by which services authenticate the gateway.
    pub cluster_key: Keyring,
    /// The admin credential.
    pub admin_credential: Keyring,
    /// TLS with services, if it is configured.
    pub tls: Option<Tls>,
}

/// A change of an instance has to take effect within a second.
const MAX_HOST_TTL: Duration = Duration::from_millis(500);

/// `grpc-timeout` has at most eight digits of milliseconds, which is more than a day.
const MAX_DURATION: Duration = Duration::from_secs(24 * 3600);
const MIN_DURATION: Duration = Duration::from_millis(1);

fn up_to_a_day(text: &str) -> Result<Duration, String> {
    let duration = duration::with_unit(text)?;
    if (MIN_DURATION..=MAX_DURATION).contains(&duration) {
        Ok(duration)
    } else {
        Err("is out of range; give 1ms to 24h".to_owned())
    }
}

fn host_ttl(text: &str) -> Result<Duration, String> {
    up_to_a_day(text).and_then(|ttl| {
        if ttl <= MAX_HOST_TTL {
            Ok(ttl)
        } else {
            Err("is too long; give 500ms at most".to_owned())
        }
    })
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        // A semaphore of tokio counts no further than an eighth of `usize`; nobody needs more than this.
        Ok(count @ 1..=1_000_000) => Ok(count),
        _ => Err("is no count; give 1 to 1000000".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use std::time::Duration;

    use clap::Parser as _;

    use super::{Config, MAX_HOST_TTL, up_to_a_day};

    #[derive(Debug, clap::Parser)]
    struct Program {
        #[command(flatten)]
        config: Config,
    }

    #[test]
    fn the_defaults_can_be_read() {
        assert_eq!(Config::default().limits.host_ttl, MAX_HOST_TTL);
    }

    #[test]
    fn times_have_a_unit_and_a_range() {
        assert_eq!(up_to_a_day("1500ms").unwrap(), Duration::from_millis(1500));
        assert_eq!(up_to_a_day("10m").unwrap(), Duration::from_secs(600));
        for wrong in ["", "10", "s", "-1s", "0s", "25h", "99999999999999999999h"] {
            assert!(up_to_a_day(wrong).is_err(), "{wrong}");
        }
        assert!(Program::try_parse_from(["gateway", "--host-ttl", "1s"]).is_err());
        assert!(Program::try_parse_from(["gateway", "--connections", "0"]).is_err());
    }
}
