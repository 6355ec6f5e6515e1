//! The settings of the gateway.

use std::{net::SocketAddr, time::Duration};

use service_kit::{secret::Keyring, tls::Tls};

/// The settings of the gateway.
#[derive(Clone, Debug, clap::Args)]
pub struct Config {
    /// Where everybody comes in: HTTP/1.1 and HTTP/2 without TLS.
    #[arg(
        long,
        env = "HAMLET_LISTEN",
        value_name = "ADDR",
        default_value = "127.0.0.1:8080"
    )]
    pub listen: SocketAddr,
    /// Where administrators come in, with the admin credential.
    #[arg(
        long,
        env = "HAMLET_ADMIN_LISTEN",
        value_name = "ADDR",
        default_value = "127.0.0.1:6060"
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
    /// How long a gRPC call may take from its first byte to its last, as in 500ms, 30s, 10m or 24h.
    /// A caller may ask for less.
    #[arg(long, env = "HAMLET_DEADLINE", value_name = "TIME", default_value = "10m", value_parser = duration)]
    pub deadline: Duration,
    /// How long a call waits for its turn when its instance or a service is busy.
    #[arg(long, env = "HAMLET_QUEUE_TIMEOUT", value_name = "TIME", default_value = "5s", value_parser = duration)]
    pub queue_timeout: Duration,
    /// How long running calls may go on after the gateway was asked to stop.
    #[arg(long, env = "HAMLET_DRAIN", value_name = "TIME", default_value = "2500ms", value_parser = duration)]
    pub drain: Duration,
    /// How long the answer to "whose host is this?" is kept, 500ms at most.
    #[arg(long, env = "HAMLET_HOST_TTL", value_name = "TIME", default_value = "500ms", value_parser = host_ttl)]
    pub host_ttl: Duration,
    /// How many such answers are kept at most.
    #[arg(long, env = "HAMLET_HOST_CACHE", value_name = "COUNT", default_value_t = 10_000, value_parser = at_least_one)]
    pub host_cache: usize,
    /// How many connections each door accepts at once.
    #[arg(long, env = "HAMLET_CONNECTIONS", value_name = "COUNT", default_value_t = 4096, value_parser = at_least_one)]
    pub connections: usize,
    /// How many calls one connection of a caller may carry at once.
    #[arg(long, env = "HAMLET_STREAMS_PER_CONNECTION", value_name = "COUNT", default_value_t = 128,
          value_parser = clap::value_parser!(u32).range(1..))]
    pub streams_per_connection: u32,
    /// How many connections each door holds to each service.
    #[arg(long, env = "HAMLET_UPSTREAM_CONNECTIONS", value_name = "COUNT", default_value_t = 4, value_parser = at_least_one)]
    pub upstream_connections: usize,
    /// How many calls each door sends to one service at once; more wait.
    #[arg(long, env = "HAMLET_STREAMS_PER_SERVICE", value_name = "COUNT", default_value_t = 512, value_parser = at_least_one)]
    pub streams_per_service: usize,
    /// How many calls the public door sends to one service for one instance at once; more wait.
    #[arg(long, env = "HAMLET_STREAMS_PER_INSTANCE", value_name = "COUNT", default_value_t = 64, value_parser = at_least_one)]
    pub streams_per_instance: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            admin_listen: SocketAddr::from(([127, 0, 0, 1], 6060)),
            instance_service: "http://127.0.0.1:7001".to_owned(),
            files_service: "http://127.0.0.1:7002".to_owned(),
            apps_service: "http://127.0.0.1:7003".to_owned(),
            deadline: Duration::from_secs(600),
            queue_timeout: Duration::from_secs(5),
            drain: Duration::from_millis(2500),
            host_ttl: MAX_HOST_TTL,
            host_cache: 10_000,
            connections: 4096,
            streams_per_connection: 128,
            upstream_connections: 4,
            streams_per_service: 512,
            streams_per_instance: 64,
        }
    }
}

/// What the gateway has to know and nobody may see.
#[derive(Clone, Debug)]
pub struct Secrets {
    /// What services know the gateway by.
    pub cluster_key: Keyring,
    /// What opens the admin door.
    pub admin_credential: Keyring,
    /// How it speaks TLS with services, if it does.
    pub tls: Option<Tls>,
}

/// A change of an instance has to be seen within a second, the way to its service included.
const MAX_HOST_TTL: Duration = Duration::from_millis(500);

/// `grpc-timeout` carries eight digits of milliseconds at most; a day leaves room.
const MAX_DURATION: Duration = Duration::from_secs(24 * 3600);

fn duration(text: &str) -> Result<Duration, String> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err("is no time; it looks like 500ms, 30s, 10m or 24h".to_owned()),
    };
    number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(unit))
        .map(Duration::from_millis)
        .filter(|duration| (Duration::from_millis(1)..=MAX_DURATION).contains(duration))
        .ok_or_else(|| "is out of range; give 1ms to 24h".to_owned())
}

fn host_ttl(text: &str) -> Result<Duration, String> {
    duration(text).and_then(|ttl| {
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

    use super::{Config, duration};

    #[derive(Debug, clap::Parser)]
    struct Program {
        #[command(flatten)]
        config: Config,
    }

    #[test]
    fn the_defaults_of_the_manual_are_the_defaults_in_code() {
        let manual = Program::try_parse_from(["gateway"]).unwrap().config;
        assert_eq!(format!("{manual:?}"), format!("{:?}", Config::default()));
    }

    #[test]
    fn times_have_a_unit_and_a_range() {
        assert_eq!(duration("1500ms").unwrap(), Duration::from_millis(1500));
        assert_eq!(duration("10m").unwrap(), Duration::from_secs(600));
        for wrong in [
            "",
            "10",
            "s",
            "1.5s",
            "-1s",
            "0s",
            "25h",
            "99999999999999999999h",
        ] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
        assert!(Program::try_parse_from(["gateway", "--host-ttl", "1s"]).is_err());
        assert!(Program::try_parse_from(["gateway", "--connections", "0"]).is_err());
    }
}
