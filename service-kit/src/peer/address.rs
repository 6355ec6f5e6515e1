//! The addresses of a service.

use std::fmt;

use http::uri::{Authority, Scheme};
use url::Url;

/// Why the addresses of a service cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// It is not an address.
    #[error(
        "{0:?} is not an address of a service; it looks like http://host:port, several are separated by commas"
    )]
    Malformed(String),
    /// It needs TLS, and TLS is not configured.
    #[error(
        "{0:?} needs TLS: give --tls-cert-file, --tls-key-file and --tls-ca-file, or write http://"
    )]
    NoTls(String),
    /// It is without TLS although TLS is configured.
    #[error("{0:?} is without TLS, though TLS is set up: write https://")]
    Plain(String),
}

/// The address of one or more replicas of a service: the host may resolve to several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) scheme: Scheme,
    /// The `:authority` of calls.
    pub(super) authority: Authority,
}

impl Address {
    fn parse(text: &str) -> Option<Self> {
        let url = Url::parse(text).ok().filter(|url| {
            url.path() == "/"
                && url.username().is_empty()
                && url.password().is_none()
                && url.query().is_none()
                && url.fragment().is_none()
        })?;
        let scheme = match url.scheme() {
            "http" => Scheme::HTTP,
            "https" => Scheme::HTTPS,
            _ => return None,
        };
        let host = url.host_str()?;
        let port = url.port_or_known_default()?;
        Some(Self {
            authority: format!("{host}:{port}").parse().ok()?,
            // Connecting needs an IPv6 address without its brackets.
            host: host.trim_matches(['[', ']']).to_owned(),
            port,
            scheme,
        })
    }
}

/// All addresses of one service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses(pub(super) Vec<Address>);

impl Addresses {
    /// Reads addresses: `http://host:port`, several separated by commas; `https` if `over_tls`.
    pub fn parse(text: &str, over_tls: bool) -> Result<Self, AddressError> {
        let addresses: Vec<Address> = text
            .split(',')
            .map(|one| {
                let one = one.trim();
                let address =
                    Address::parse(one).ok_or_else(|| AddressError::Malformed(one.to_owned()))?;
                match (over_tls, address.scheme == Scheme::HTTPS) {
                    (false, true) => Err(AddressError::NoTls(one.to_owned())),
                    (true, false) => Err(AddressError::Plain(one.to_owned())),
                    _ => Ok(address),
                }
            })
            .collect::<Result<_, _>>()?;
        Ok(Self(addresses))
    }
}

impl fmt::Display for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, address) in self.0.iter().enumerate() {
            let comma = if number == 0 { "" } else { "," };
            write!(f, "{comma}{}://{}", address.scheme, address.authority)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{AddressError, Addresses};

    fn read(text: &str) -> Result<Vec<(String, u16)>, AddressError> {
        let addresses = Addresses::parse(text, text.starts_with("https"))?;
        Ok(addresses
            .0
            .into_iter()
            .map(|address| (address.host, address.port))
            .collect())
    }

    #[test]
    fn hosts_and_ports_are_read_and_the_rest_is_refused() {
        assert_eq!(
            read("http://files:7002"),
            Ok(vec![("files".to_owned(), 7002)])
        );
        assert_eq!(
            read("http://[::1]:1/, http://b:2"),
            Ok(vec![("::1".to_owned(), 1), ("b".to_owned(), 2)])
        );
        assert_eq!(read("https://files"), Ok(vec![("files".to_owned(), 443)]));
        for wrong in [
            "files:7002",
            "http://",
            "http://a/b",
            "http://u:p@a",
            "",
            "http://a,",
            "ftp://a",
        ] {
            assert!(
                matches!(read(wrong), Err(AddressError::Malformed(_))),
                "{wrong}"
            );
        }
    }

    #[test]
    fn all_addresses_use_tls_or_none_does() {
        assert!(matches!(
            Addresses::parse("https://a", false),
            Err(AddressError::NoTls(_))
        ));
        assert!(matches!(
            Addresses::parse("https://a,http://b", true),
            Err(AddressError::Plain(_))
        ));
    }
}
