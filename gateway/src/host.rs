//! The host of a request.

use http::{HeaderMap, Request, header::HOST, uri::Authority};

/// The longest name in DNS; an IPv6 address in brackets is shorter.
const MAX_NAME: usize = 253;

/// A well-formed host in its normal form, which is the key of the directory's cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Host {
    /// Lower case, without port and trailing dot.
    name: String,
    authority: Authority,
}

/// Why a request has no usable host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("the request names no host; send one Host header")]
    Missing,
    #[error("the request has more than one Host header; send one")]
    Many,
    #[error("the request names two different hosts; send one")]
    Different,
    #[error("the host is not well-formed; it looks like alice.example or alice.example:8080")]
    Form,
}

impl Host {
    /// The host of a request, from `:authority` or an absolute target, and from `Host`. If both are present,
    /// they have to agree (RFC 9113, section 8.3.1).
    pub(crate) fn of<B>(request: &Request<B>) -> Result<Self, Malformed> {
        let header = header(request.headers())?;
        let target = request
            .uri()
            .authority()
            .map(|authority| Self::parse(authority.as_str()))
            .transpose()?;
        match (target, header) {
            (None, None) => Err(Malformed::Missing),
            (Some(host), None) | (None, Some(host)) => Ok(host),
            (Some(target), Some(header)) if target.agrees_with(&header) => Ok(target),
            (Some(_), Some(_)) => Err(Malformed::Different),
        }
    }

    /// Reads `name`, `name:port` or `[address]:port`.
    pub(crate) fn parse(text: &str) -> Result<Self, Malformed> {
        let (name, port) = split(text).ok_or(Malformed::Form)?;
        let port_is_fine = port.is_none_or(|port| {
            port.len() <= 5
                && port.bytes().all(|byte| byte.is_ascii_digit())
                && (port.is_empty() || port.parse::<u16>().is_ok())
        });
        let name = name.strip_suffix('.').unwrap_or(name);
        if !port_is_fine || name.is_empty() || name.len() > MAX_NAME {
            return Err(Malformed::Form);
        }
        let name = name.to_ascii_lowercase();
        let authority = match port.filter(|port| !port.is_empty()) {
            Some(port) => format!("{name}:{port}"),
            None => name.clone(),
        };
        let authority = authority.parse().map_err(|_| Malformed::Form)?;
        Ok(Self { name, authority })
    }

    /// The name alone: lower case, without port and trailing dot.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The name, and the port when one was sent.
    pub(crate) const fn authority(&self) -> &Authority {
        &self.authority
    }

    /// They agree when only one of them has a port: it may be the default port.
    fn agrees_with(&self, other: &Self) -> bool {
        let port = |host: &Self| host.authority.port_u16();
        self.name == other.name
            && match (port(self), port(other)) {
                (Some(one), Some(two)) => one == two,
                _ => true,
            }
    }
}

fn header(headers: &HeaderMap) -> Result<Option<Host>, Malformed> {
    let mut hosts = headers.get_all(HOST).iter();
    let Some(host) = hosts.next() else {
        return Ok(None);
    };
    if hosts.next().is_some() {
        return Err(Malformed::Many);
    }
    let text = host.to_str().map_err(|_| Malformed::Form)?;
    Host::parse(text).map(Some)
}

/// Splits off the port. `None` for characters that no host name has, as user names, percent signs and spaces.
fn split(text: &str) -> Option<(&str, Option<&str>)> {
    if let Some(rest) = text.strip_prefix('[') {
        let end = rest.find(']')?;
        let (inside, after) = rest.split_at(end);
        inside.parse::<std::net::Ipv6Addr>().ok()?;
        let name = text.get(..end + 2)?;
        return match after.strip_prefix(']')? {
            "" => Some((name, None)),
            port => Some((name, Some(port.strip_prefix(':')?))),
        };
    }
    let (name, port) = match text.split_once(':') {
        Some((name, port)) => (name, Some(port)),
        None => (text, None),
    };
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    (name.bytes().all(allowed) && !name.starts_with('.')).then_some((name, port))
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use http::Request;
    use proptest::prelude::*;

    use super::{Host, Malformed};

    fn host(target: &str, headers: &[&str]) -> Result<String, Malformed> {
        let mut request = Request::builder().uri(target);
        for header in headers {
            request = request.header("host", *header);
        }
        Host::of(&request.body(()).unwrap()).map(|host| host.name().to_owned())
    }

    #[test]
    fn case_port_and_final_dot_are_ignored() {
        for spelling in [
            "Alice.Example",
            "alice.example:8080",
            "ALICE.example.",
            "alice.example.:80",
        ] {
            assert_eq!(
                host("/", &[spelling]).unwrap(),
                "alice.example",
                "{spelling}"
            );
        }
        assert_eq!(host("/", &["[::1]:80"]).unwrap(), "[::1]");
    }

    #[test]
    fn two_hosts_have_to_agree() {
        assert_eq!(
            host("http://a.example/", &["A.example:80"]).unwrap(),
            "a.example"
        );
        assert_eq!(
            host("http://a.example/", &["b.example"]),
            Err(Malformed::Different)
        );
        assert_eq!(
            host("http://a.example:1/", &["a.example:2"]),
            Err(Malformed::Different)
        );
        assert_eq!(host("/", &["a.example", "a.example"]), Err(Malformed::Many));
        assert_eq!(host("/", &[]), Err(Malformed::Missing));
    }

    #[test]
    fn malformed_hosts_are_refused() {
        let long = "a".repeat(254);
        for wrong in [
            "",
            ".",
            ":80",
            "a b",
            "a@b",
            "user:pass@a.example",
            "a/b",
            "a%2eb",
            "bücher.example",
            "a:b",
            "a:99999",
            "[::1",
            "[::1]x",
            "[zz]",
            ".a",
            "a:80:80",
            long.as_str(),
        ] {
            assert!(Host::parse(wrong).is_err(), "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,300}") {
            if let Ok(host) = Host::parse(&text) {
                // Reading the own form again changes nothing.
                let again = Host::parse(host.authority().as_str()).unwrap();
                prop_assert_eq!(again.name(), host.name());
                prop_assert!(host.name().len() <= 253);
                prop_assert!(!host.name().contains(|c: char| c.is_ascii_uppercase() || c == '@' || c == '/'));
            }
        }

        #[test]
        fn whatever_looks_like_a_host_is_read_alike(name in "[a-z0-9]{1,9}(\\.[a-z0-9-]{1,9}){0,3}", port in 1_u16..) {
            let plain = Host::parse(&name).unwrap();
            for spelling in [format!("{name}:{port}"), format!("{name}."), name.to_uppercase()] {
                let spelt = Host::parse(&spelling).unwrap();
                prop_assert_eq!(spelt.name(), plain.name());
            }
        }
    }
}
