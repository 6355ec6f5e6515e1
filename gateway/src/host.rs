//! The host of a request.
//!
//! `Host`, `:authority` and an absolute target are read by one function, so that no two of them can mean different
//! instances. What RFC 3986 (section 3.2) allows and no name in DNS has is refused: user names, percent-encodings,
//! empty labels, future kinds of addresses.

use std::net::{IpAddr, Ipv6Addr};

use http::{
    HeaderMap, Request,
    header::HOST,
    uri::{Authority, Scheme},
};

/// The longest name in DNS (RFC 1035, section 2.3.4, less the length bytes); an IPv6 address in brackets is shorter.
const MAX_NAME: usize = 253;
/// The longest label in DNS (RFC 1035, section 2.3.4).
const MAX_LABEL: usize = 63;

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
    #[error("the target of the request is no address of http or https")]
    Scheme,
    #[error("the host is not well-formed; it looks like alice.example or alice.example:8080")]
    Form,
}

impl Host {
    /// The host of a request, from `:authority` or an absolute target, and from `Host`. If both are present,
    /// they have to agree (RFC 9113, section 8.3.1).
    pub(crate) fn of<B>(request: &Request<B>) -> Result<Self, Malformed> {
        let uri = request.uri();
        if uri
            .scheme()
            .is_some_and(|scheme| *scheme != Scheme::HTTP && *scheme != Scheme::HTTPS)
        {
            return Err(Malformed::Scheme);
        }
        let header = header(request.headers())?;
        let target = uri
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

    /// Reads `name`, `name:port` or `[address]:port`. An empty port is none (RFC 3986, section 6.2.3).
    pub(crate) fn parse(text: &str) -> Result<Self, Malformed> {
        let (name, port) = split(text).ok_or(Malformed::Form)?;
        let authority = match port {
            Some(port) if !port.is_empty() => format!("{name}:{}", read_port(port)?),
            _ => name.clone(),
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

    /// The address, when the host is one and no name.
    pub(crate) fn ip(&self) -> Option<IpAddr> {
        match self.name.strip_prefix('[') {
            Some(rest) => rest.strip_suffix(']')?.parse().ok().map(IpAddr::V6),
            None => self.name.parse().ok().map(IpAddr::V4),
        }
    }

    /// The host whose instance is meant: `default` when this one is an IP address, which is the name of no instance.
    pub(crate) fn or_default<'a>(&'a self, default: Option<&'a Self>) -> &'a Self {
        match default {
            Some(default) if self.ip().is_some() => default,
            _ => self,
        }
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

/// The name in its normal form, and the port as it was written. `None` for what is no host.
fn split(text: &str) -> Option<(String, Option<&str>)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (inside, after) = rest.split_once(']')?;
        let address: Ipv6Addr = inside.parse().ok()?;
        let port = match after {
            "" => None,
            port => Some(port.strip_prefix(':')?),
        };
        return Some((format!("[{address}]"), port));
    }
    let (name, port) = match text.split_once(':') {
        Some((name, port)) => (name, Some(port)),
        None => (text, None),
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    (name.len() <= MAX_NAME && name.split('.').all(is_label))
        .then(|| (name.to_ascii_lowercase(), port))
}

/// Whether a text can be a label of a name. Underscores are no part of host names, but names in DNS have them.
fn is_label(label: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=MAX_LABEL).contains(&label.len()) && label.bytes().all(allowed)
}

/// Nobody listens on port 0.
fn read_port(text: &str) -> Result<u16, Malformed> {
    let is_number = text.len() <= 5 && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(port) if is_number && port != 0 => Ok(port),
        _ => Err(Malformed::Form),
    }
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
    fn only_targets_of_http_are_read() {
        assert_eq!(host("HTTPS://a.example/", &[]).unwrap(), "a.example");
        for other in ["ftp://a.example/", "httpx://a.example/"] {
            assert_eq!(
                host(other, &["a.example"]),
                Err(Malformed::Scheme),
                "{other}"
            );
        }
    }

    /// What the three places in which a request can name a host make of a text: name and authority.
    fn everywhere(text: &str) -> [Option<(String, String)>; 3] {
        let read = |request: http::Result<Request<()>>| {
            let host = Host::of(&request.ok()?).ok()?;
            Some((host.name().to_owned(), host.authority().to_string()))
        };
        [
            read(Request::get("/").header("host", text).body(())),
            read(Request::get(format!("http://{text}/")).body(())),
            read(Request::get(format!("http://{text}")).body(())),
        ]
    }

    #[derive(serde::Deserialize)]
    struct Vectors {
        read: Vec<Vector>,
        refused: Vec<String>,
    }

    #[derive(serde::Deserialize)]
    struct Vector {
        host: String,
        name: String,
        authority: String,
    }

    #[test]
    fn every_place_reads_the_vectors_alike() {
        let vectors: Vectors =
            serde_json::from_str(include_str!("../tests/data/hosts.json")).unwrap();
        for Vector {
            host,
            name,
            authority,
        } in vectors.read
        {
            for read in everywhere(&host) {
                assert_eq!(read, Some((name.clone(), authority.clone())), "{host:?}");
            }
        }
        for wrong in vectors.refused {
            assert_eq!(Host::parse(&wrong), Err(Malformed::Form), "{wrong:?}");
            // As a target, a delimiter begins the path, and what stands before it may be a host.
            if !wrong.contains(['/', '?', '#', '\\']) {
                assert_eq!(everywhere(&wrong), [None, None, None], "{wrong:?}");
            }
        }
    }

    #[derive(serde::Deserialize)]
    struct Original {
        hosts: Vec<String>,
        refused_chars: Vec<char>,
        refused_values: Vec<String>,
        refused_first_chars: Vec<char>,
    }

    /// `cozy-hosts.json` holds what the original refuses in a domain, as observed.
    #[test]
    fn what_the_original_refuses_is_refused() {
        let original: Original =
            serde_json::from_str(include_str!("../tests/data/cozy-hosts.json")).unwrap();
        for host in original.hosts {
            assert!(Host::parse(&host).is_ok(), "{host:?}");
        }
        let characters = original.refused_chars.iter();
        let with = characters.map(|character| format!("alice{character}.example"));
        let first = original.refused_first_chars.iter();
        let first = first.map(|character| format!("{character}alice.example"));
        for wrong in with.chain(first).chain(original.refused_values) {
            assert!(Host::parse(&wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn only_an_address_means_the_default_instance() {
        let default = Host::parse("alice.example").unwrap();
        for (text, is_address) in [
            ("127.0.0.1:8080", true),
            ("[::1]", true),
            ("localhost", false),
            ("127.1", false),
            ("127.0.0.1.example", false),
        ] {
            let host = Host::parse(text).unwrap();
            assert_eq!(host.ip().is_some(), is_address, "{text}");
            assert_eq!(host.or_default(None), &host);
            let meant = if is_address { &default } else { &host };
            assert_eq!(host.or_default(Some(&default)), meant, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in prop_oneof!["\\PC{0,300}", "[a-zA-Z0-9.:\\[\\]@%/_-]{0,40}"]) {
            crate::fuzzing::host(text.as_bytes());
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
