//! The address of a service.

use url::Url;

/// Why an address of a service cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{address:?} is not an address of a service; it looks like http://host:port")]
pub struct AddressError {
    address: String,
}

/// Where a service listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Address {
    /// Reads `http://host:port`.
    pub(crate) fn parse(address: &str) -> Result<Self, AddressError> {
        Url::parse(address)
            .ok()
            .filter(|url| {
                url.scheme() == "http"
                    && url.path() == "/"
                    && url.username().is_empty()
                    && url.password().is_none()
                    && url.query().is_none()
                    && url.fragment().is_none()
            })
            .and_then(|url| {
                Some(Self {
                    // Dialling wants an IPv6 address without its brackets.
                    host: url.host_str()?.trim_matches(['[', ']']).to_owned(),
                    port: url.port_or_known_default()?,
                })
            })
            .ok_or_else(|| AddressError {
                address: address.to_owned(),
            })
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use super::Address;

    #[test]
    fn host_and_port_are_read_and_the_rest_is_refused() {
        let read = |text| Address::parse(text).map(|address| (address.host, address.port));
        assert_eq!(
            read("http://files:7002").unwrap(),
            ("files".to_owned(), 7002)
        );
        assert_eq!(read("http://[::1]:1/").unwrap(), ("::1".to_owned(), 1));
        for wrong in [
            "files:7002",
            "https://files",
            "http://",
            "http://a/b",
            "http://u:p@a",
            "",
        ] {
            assert!(
                read(wrong)
                    .unwrap_err()
                    .to_string()
                    .contains("http://host:port")
            );
        }
    }
}
