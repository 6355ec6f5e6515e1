//! The settings of how the doors are reached from outside: TLS, and proxies in front.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use ipnet::IpNet;
use process_kit::{address, duration};

use crate::{
    certificates::{self, Certificates},
    host::Host,
    proxied::TrustedProxies,
    secure::Hsts,
};

/// How the doors are reached from outside. A program flattens it into its settings.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ExposureFlags {
    /// A folder of certificates. With it, the public door speaks TLS only. A pair is NAME.crt and NAME.key, or
    /// NAME/fullchain.pem and NAME/privkey.pem; the pair called `default` is for hosts that no certificate names. What
    /// changes in the folder is used within seconds.
    #[arg(long, env = "HAMLET_TLS_CERTIFICATES", value_name = "DIR")]
    pub tls_certificates: Option<PathBuf>,
    /// The same for the admin door. It may be the same folder.
    // A setting of its own: the command line and health checks reach the admin door at a private address, and would
    // fail when browsers get TLS.
    #[arg(long, env = "HAMLET_ADMIN_TLS_CERTIFICATES", value_name = "DIR")]
    pub admin_tls_certificates: Option<PathBuf>,
    /// Where requests without TLS are redirected to the same address with https. By default nowhere.
    #[arg(
        long,
        env = "HAMLET_REDIRECT_LISTEN",
        value_name = "ADDR",
        value_parser = address::parse
    )]
    pub redirect_listen: Option<SocketAddr>,
    /// For how long browsers are to use nothing but https for a host that they have visited (HSTS), as in 365d; 0 for not
    /// at all. By default a year when the public door speaks TLS. When set, it is also sent where a trusted proxy ends TLS.
    #[arg(long, env = "HAMLET_HSTS", value_name = "TIME", value_parser = hsts_age)]
    pub hsts: Option<Duration>,
    /// The addresses or networks of the proxies in front, separated by commas, such as 10.1.0.0/16,fd00::1. Only they may
    /// say who a client is: by `Forwarded`, `X-Forwarded-For`, `-Proto` and `-Host`, and by the PROXY protocol.
    #[arg(
        long,
        env = "HAMLET_TRUSTED_PROXIES",
        value_name = "NETWORKS",
        value_delimiter = ',',
        value_parser = network
    )]
    pub trusted_proxies: Vec<IpNet>,
    /// Connections of trusted proxies to the public door and to the redirect begin with a header of the PROXY protocol,
    /// version 1 or 2. Without the header, they are closed. Connections of others have none.
    // Whether there is a header is never guessed, as the protocol demands: a client behind a proxy that forwards whole
    // connections without one could write its own.
    #[arg(long, env = "HAMLET_PROXY_PROTOCOL")]
    pub proxy_protocol: bool,
    /// The domain of the instance that answers when the host of a request is an IP address. By default none does.
    #[arg(long, env = "HAMLET_DEFAULT_INSTANCE", value_name = "DOMAIN", value_parser = domain)]
    pub default_instance: Option<String>,
}

/// Why these settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ExposureError {
    /// A door cannot begin with TLS.
    #[error("{setting}: {source}")]
    Certificates {
        /// The setting that names the folder.
        setting: &'static str,
        /// What is wrong with it.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Nobody may send a header of the PROXY protocol.
    #[error("proxy-protocol: give trusted-proxies too; nobody else may use the PROXY protocol")]
    NoProxies,
}

/// The settings, ready for use.
#[derive(Debug)]
pub(crate) struct Exposure {
    /// TLS of the public door.
    pub(crate) public: Option<Certificates>,
    /// TLS of the admin door.
    pub(crate) admin: Option<Certificates>,
    pub(crate) hsts: Hsts,
    pub(crate) trusted: TrustedProxies,
    /// Whether connections of trusted proxies to the public door begin with a header.
    pub(crate) proxy_protocol: bool,
    /// The host that is meant when a request names an IP address.
    pub(crate) default_instance: Option<Host>,
}

impl ExposureFlags {
    /// Loads the certificates, and checks that the settings fit together.
    pub(crate) fn open(&self) -> Result<Exposure, ExposureError> {
        if self.proxy_protocol && self.trusted_proxies.is_empty() {
            return Err(ExposureError::NoProxies);
        }
        let open = |folder: &Option<PathBuf>, setting, door| {
            let opened = folder.as_deref().map(|it| Certificates::open(it, door));
            opened
                .transpose()
                .map_err(|source: certificates::Error| ExposureError::Certificates {
                    setting,
                    source: source.into(),
                })
        };
        let public = open(&self.tls_certificates, "tls-certificates", "public")?;
        let admin = open(
            &self.admin_tls_certificates,
            "admin-tls-certificates",
            "admin",
        )?;
        Ok(Exposure {
            hsts: Hsts::new(self.hsts, public.is_some()),
            public,
            admin,
            trusted: TrustedProxies::new(&self.trusted_proxies),
            proxy_protocol: self.proxy_protocol,
            default_instance: self
                .default_instance
                .as_deref()
                .and_then(|domain| Host::parse(domain).ok()),
        })
    }
}

fn network(text: &str) -> Result<IpNet, String> {
    let text = text.trim();
    let network: Result<IpNet, _> = text.parse();
    network
        .or_else(|_| text.parse().map(|address: IpAddr| address.into()))
        .map_err(|_| {
            format!("{text:?} is no network; write one such as 10.1.0.0/16, fd00::/8 or 127.0.0.1")
        })
}

fn hsts_age(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    duration::with_unit(text)
}

/// Reads a domain as it is written in requests: browsers send international names in their ASCII form, and read a name
/// whose last label is a number as an IPv4 address (WHATWG URL, host parsing).
fn domain(text: &str) -> Result<String, String> {
    let (name, port) = match text.split_once(':') {
        Some((name, port)) => (name, Some(port)),
        None => (text, None),
    };
    let Ok(url::Host::Domain(ascii)) = url::Host::parse(name) else {
        return Err(NO_DOMAIN.to_owned());
    };
    let host = match port {
        Some(port) => Host::parse(&format!("{ascii}:{port}")),
        None => Host::parse(&ascii),
    };
    match host {
        Ok(host) => Ok(host.authority().to_string()),
        Err(_) => Err(NO_DOMAIN.to_owned()),
    }
}

const NO_DOMAIN: &str = "is no domain; it looks like alice.example";

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use std::fs;

    use clap::Parser as _;

    use super::ExposureFlags;
    use crate::{host::Host, proxied::Scheme};

    #[derive(Debug, clap::Parser)]
    struct Program {
        #[command(flatten)]
        exposure: ExposureFlags,
    }

    fn read(flags: &[&str]) -> Result<ExposureFlags, String> {
        let args = std::iter::once("gateway").chain(flags.iter().copied());
        let program = Program::try_parse_from(args).map_err(|error| error.to_string())?;
        Ok(program.exposure)
    }

    #[test]
    fn proxies_are_addresses_and_networks() {
        let flags = read(&["--trusted-proxies", "10.1.0.0/16, fd00::/8,192.0.2.1"]).unwrap();
        let trusted = flags.open().unwrap().trusted;
        for (address, is_trusted) in [
            ("10.1.2.3", true),
            ("::ffff:10.1.2.3", true),
            ("fd12::1", true),
            ("192.0.2.1", true),
            ("192.0.2.2", false),
            ("10.2.0.1", false),
        ] {
            assert_eq!(
                trusted.contains(address.parse().unwrap()),
                is_trusted,
                "{address}"
            );
        }
        assert!(read(&["--trusted-proxies", "proxy.example"]).is_err());
    }

    #[test]
    fn the_proxy_protocol_needs_proxies() {
        let alone = read(&["--proxy-protocol"]).unwrap().open().unwrap_err();
        assert!(alone.to_string().contains("trusted-proxies"), "{alone}");
        let both = read(&["--proxy-protocol", "--trusted-proxies", "::1"]).unwrap();
        assert!(both.open().unwrap().proxy_protocol);
    }

    #[test]
    fn the_default_instance_is_a_domain() {
        for (text, domain) in [
            ("Alice.example", "alice.example"),
            ("alice.localhost:8080", "alice.localhost:8080"),
            ("bücher.example", "xn--bcher-kva.example"),
        ] {
            let flags = read(&["--default-instance", text]).unwrap();
            let default = flags.open().unwrap().default_instance.unwrap();
            assert_eq!(default.authority().as_str(), domain);
        }
        for wrong in [
            "",
            "127.0.0.1",
            "1.2.3",
            "0x7f.1",
            "foo.123",
            "[::1]",
            "a b",
            "alice.example:x",
        ] {
            assert!(read(&["--default-instance", wrong]).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_folder_that_cannot_be_used_is_named_with_its_setting() {
        for setting in ["tls-certificates", "admin-tls-certificates"] {
            let flags = read(&[&format!("--{setting}"), "/nowhere"]).unwrap();
            let told = flags.open().unwrap_err().to_string();
            assert!(told.starts_with(&format!("{setting}: ")), "{told}");
            assert!(told.contains("/nowhere"), "{told}");
        }
    }

    #[test]
    fn each_door_has_a_folder_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(["alice.example".to_owned()]).unwrap();
        fs::write(folder.path().join("a.crt"), made.cert.pem()).unwrap();
        fs::write(
            folder.path().join("a.key"),
            made.signing_key.serialize_pem(),
        )
        .unwrap();
        let path = folder.path().to_str().unwrap();
        let host = Host::parse("alice.example").unwrap();
        let public = read(&["--tls-certificates", path]).unwrap().open().unwrap();
        assert!(public.public.is_some() && public.admin.is_none());
        assert!(public.hsts.header(Scheme::Https, &host).is_some());
        let admin = read(&["--admin-tls-certificates", path]).unwrap();
        let admin = admin.open().unwrap();
        assert!(admin.public.is_none() && admin.admin.is_some());
        assert!(admin.hsts.header(Scheme::Https, &host).is_none());
        let none = read(&["--tls-certificates", path, "--hsts", "0"]).unwrap();
        let none = none.open().unwrap();
        assert!(none.hsts.header(Scheme::Https, &host).is_none());
    }
}
