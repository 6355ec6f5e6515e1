//! Who a request comes from, when proxies stand before the gateway.
//!
//! Only what trusted proxies say counts: the header of the PROXY protocol (`protocol`) for a connection, `Forwarded` and
//! `X-Forwarded-*` (`forwarded`) for a request. A client whose address is not one of a trusted proxy can write what it
//! likes, and is taken for what its connection shows.

mod forwarded;
pub(crate) mod protocol;

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use http::{HeaderMap, HeaderName, HeaderValue, header::FORWARDED};
use ipnet::IpNet;

use self::forwarded::{Hop, X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PROTO};
use crate::host::Host;

/// The headers of requests that say who the client is, besides `Forwarded` and those that begin with `x-forwarded-`.
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
const X_FORWARDED: &str = "x-forwarded-";

/// How a request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    Http,
    Https,
}

impl Scheme {
    /// The name of the scheme in a URL.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// The networks of the proxies that are believed. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct TrustedProxies(Arc<[IpNet]>);

impl TrustedProxies {
    pub(crate) fn new(networks: &[IpNet]) -> Self {
        Self(networks.into())
    }

    /// Whether a proxy with this address is believed.
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        // A listener for both families shows IPv4 addresses as IPv6 ones.
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// What a connection shows by itself: where it comes from, by its header of the PROXY protocol if there was one, and
/// whether the gateway ends its TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    pub(crate) address: IpAddr,
    pub(crate) scheme: Scheme,
}

/// Who sent a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Client {
    /// The nearest address that is not one of a trusted proxy.
    pub(crate) address: IpAddr,
    /// How the client reached the first trusted proxy, or the gateway.
    pub(crate) scheme: Scheme,
    /// The host that the client named to the first trusted proxy, if that proxy tells.
    pub(crate) host: Option<Host>,
    /// The trusted proxies between the client and the gateway, in the order in which the request passed them.
    proxies: Vec<IpAddr>,
}

/// What one kind of headers tells.
#[derive(Default, PartialEq, Eq)]
struct Told {
    /// The client, then the proxies behind it. Only the last is known from the connection.
    way: Vec<IpAddr>,
    scheme: Option<Scheme>,
    host: Option<Host>,
}

impl Client {
    /// Finds out who sent a request with these headers.
    ///
    /// When both kinds of headers are there and name different clients, neither counts: a proxy that writes one kind
    /// may let the other pass as the client wrote it.
    pub(crate) fn of(peer: Peer, headers: &HeaderMap, trusted: &TrustedProxies) -> Self {
        let address = peer.address.to_canonical();
        if !trusted.contains(address) {
            return Self {
                address,
                scheme: peer.scheme,
                host: None,
                proxies: Vec::new(),
            };
        }
        let alone = || Told {
            way: vec![address],
            ..Told::default()
        };
        let follow = |hops| follow(address, hops, trusted);
        let told = match (
            forwarded::forwarded(headers).map(follow),
            forwarded::x_forwarded(headers).map(follow),
        ) {
            (Some(one), Some(two)) => one.and(two).unwrap_or_else(alone),
            (Some(told), None) | (None, Some(told)) => told,
            (None, None) => alone(),
        };
        let mut way = told.way.into_iter();
        Self {
            address: way.next().unwrap_or(address),
            scheme: told.scheme.unwrap_or(peer.scheme),
            host: told.host,
            proxies: way.collect(),
        }
    }

    /// The host that the client means, when its request arrived with `host`.
    pub(crate) fn host_or<'a>(&'a self, host: &'a Host) -> &'a Host {
        self.host.as_ref().unwrap_or(host)
    }

    /// Who the client is, as headers for the service behind. `host` is the host of the request.
    pub(crate) fn lines(&self, host: &Host) -> Lines {
        let host = self.host_or(host).authority();
        let scheme = self.scheme.as_str();
        let mut way = self.address.to_string();
        let mut elements = format!("for={};host=\"{host}\";proto={scheme}", node(self.address));
        for proxy in &self.proxies {
            way.push_str(&format!(", {proxy}"));
            elements.push_str(&format!(", for={}", node(*proxy)));
        }
        let lines = [
            (FORWARDED, elements.as_str()),
            (X_FORWARDED_FOR, way.as_str()),
            (X_FORWARDED_PROTO, scheme),
            (X_FORWARDED_HOST, host.as_str()),
        ];
        // Addresses, hosts and schemes consist of visible ASCII.
        let value = |text| HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""));
        Lines(lines.map(|(name, text)| (name, value(text))))
    }
}

/// Who a client is, in both kinds of headers.
#[derive(Clone, Debug)]
pub(crate) struct Lines([(HeaderName, HeaderValue); 4]);

impl Lines {
    /// Writes them into the headers of a request. What was there is replaced: what trusted proxies said is said again, and
    /// everything else may be a lie.
    pub(crate) fn write(&self, headers: &mut HeaderMap) {
        let theirs: Vec<HeaderName> = headers
            .keys()
            .filter(|name| {
                name.as_str().starts_with(X_FORWARDED) || [FORWARDED, X_REAL_IP].contains(name)
            })
            .cloned()
            .collect();
        for name in theirs {
            headers.remove(name);
        }
        for (name, value) in &self.0 {
            headers.insert(name, value.clone());
        }
    }
}

/// The lines of the last client of a connection: most connections have one client and one host.
#[derive(Debug, Default)]
pub(crate) struct LastLines(Mutex<Option<(Client, Host, Lines)>>);

impl LastLines {
    /// The lines for a request.
    pub(crate) fn of(&self, client: &Client, host: &Host) -> Lines {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((its, at, lines)) = &*last
            && its == client
            && at == host
        {
            return lines.clone();
        }
        let lines = client.lines(host);
        *last = Some((client.clone(), host.clone(), lines.clone()));
        lines
    }
}

impl Told {
    /// What both say, if they do not contradict each other about the client.
    fn and(self, other: Self) -> Option<Self> {
        if self.way.first() != other.way.first() {
            tracing::debug!("Forwarded and X-Forwarded-For name different clients; neither counts");
            return None;
        }
        Some(Self {
            scheme: agreed(self.scheme, other.scheme),
            host: agreed(self.host, other.host),
            way: self.way,
        })
    }
}

fn agreed<T: PartialEq>(one: Option<T>, two: Option<T>) -> Option<T> {
    match (one, two) {
        (Some(one), Some(two)) if one != two => None,
        (one, two) => one.or(two),
    }
}

/// Goes from proxy to proxy towards the client, as long as the one who speaks is trusted.
fn follow(peer: IpAddr, hops: Vec<Hop>, trusted: &TrustedProxies) -> Told {
    let mut told = Told {
        way: vec![peer],
        ..Told::default()
    };
    let mut speaker = peer;
    for hop in hops {
        if !trusted.contains(speaker) {
            break;
        }
        told.scheme = hop.scheme.or(told.scheme);
        told.host = hop.host.or(told.host);
        let Some(address) = hop.address else { break };
        told.way.push(address);
        speaker = address;
    }
    told.way.reverse();
    told
}

/// An address as a `node` of `Forwarded` (RFC 7239, section 6).
fn node(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("\"[{address}]\""),
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use http::HeaderMap;
    use proptest::prelude::*;

    use super::{Client, Peer, Scheme, TrustedProxies};
    use crate::host::Host;

    fn trusted() -> TrustedProxies {
        TrustedProxies::new(&["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()])
    }

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    fn client(peer: &str, lines: &[(&'static str, &str)]) -> Client {
        let peer = Peer {
            address: peer.parse().unwrap(),
            scheme: Scheme::Http,
        };
        Client::of(peer, &headers(lines), &trusted())
    }

    /// Client, scheme, host and proxies as one text.
    fn told(client: &Client) -> String {
        let host = client.host.as_ref().map(|it| it.authority().as_str());
        format!(
            "{} {} {} {:?}",
            client.address,
            client.scheme.as_str(),
            host.unwrap_or("-"),
            client.proxies
        )
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        let all = [
            ("forwarded", "for=192.0.2.1;proto=https;host=a.example"),
            ("x-forwarded-for", "192.0.2.1"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "a.example"),
        ];
        assert_eq!(
            told(&client("198.51.100.1", &all)),
            "198.51.100.1 http - []"
        );
        for trusted in ["10.1.2.3", "::ffff:10.1.2.3"] {
            let told = told(&client(trusted, &all));
            assert_eq!(told, "192.0.2.1 https a.example [10.1.2.3]", "{trusted}");
        }
    }

    #[test]
    fn the_walk_ends_at_the_first_stranger() {
        for (lines, expected) in [
            (vec![], "10.0.0.1 http - []"),
            (
                vec![("x-forwarded-for", "1.1.1.1, 192.0.2.1")],
                "192.0.2.1 http - [10.0.0.1]",
            ),
            (
                vec![("x-forwarded-for", "1.1.1.1, 192.0.2.1, 10.0.0.2")],
                "192.0.2.1 http - [10.0.0.2, 10.0.0.1]",
            ),
            (
                vec![("x-forwarded-for", "10.0.0.3, fd00::1")],
                "10.0.0.3 http - [fd00::1, 10.0.0.1]",
            ),
            (
                vec![("x-forwarded-for", "192.0.2.1, nonsense")],
                "10.0.0.1 http - []",
            ),
            (vec![("x-forwarded-proto", "https")], "10.0.0.1 https - []"),
            (
                vec![(
                    "forwarded",
                    "for=192.0.2.1;proto=https, for=10.0.0.2;proto=http",
                )],
                "192.0.2.1 https - [10.0.0.2, 10.0.0.1]",
            ),
            // The stranger's own words, before the quotation mark that it left open, and behind it.
            (
                vec![("forwarded", "for=\""), ("forwarded", "for=192.0.2.1")],
                "192.0.2.1 http - [10.0.0.1]",
            ),
            (
                vec![("forwarded", "for=\", for=192.0.2.1")],
                "10.0.0.1 http - []",
            ),
            (
                vec![("forwarded", "for=_hidden;proto=https")],
                "10.0.0.1 https - []",
            ),
        ] {
            assert_eq!(told(&client("10.0.0.1", &lines)), expected, "{lines:?}");
        }
    }

    #[test]
    fn contradicting_headers_do_not_count() {
        for (forwarded, x_for, x_proto, expected) in [
            ("for=192.0.2.1", "192.0.2.9", "https", "10.0.0.1 http - []"),
            (
                "for=192.0.2.1",
                "192.0.2.1",
                "https",
                "192.0.2.1 https - [10.0.0.1]",
            ),
            (
                "for=192.0.2.1;proto=http",
                "192.0.2.1",
                "https",
                "192.0.2.1 http - [10.0.0.1]",
            ),
        ] {
            let lines = [
                ("forwarded", forwarded),
                ("x-forwarded-for", x_for),
                ("x-forwarded-proto", x_proto),
            ];
            assert_eq!(told(&client("10.0.0.1", &lines)), expected, "{lines:?}");
        }
        let lines = [
            ("forwarded", "for=192.0.2.1"),
            ("x-forwarded-proto", "https"),
        ];
        assert_eq!(told(&client("10.0.0.1", &lines)), "10.0.0.1 http - []");
    }

    #[test]
    fn services_are_told_what_was_found_out_and_nothing_else() {
        let lies = [
            ("forwarded", "for=9.9.9.9"),
            ("forwarded", "for=8.8.8.8"),
            ("x-forwarded-for", "9.9.9.9"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-port", "443"),
            ("x-forwarded-prefix", "/evil"),
            ("x-real-ip", "9.9.9.9"),
            ("accept", "*/*"),
        ];
        let host = Host::parse("alice.example:8080").unwrap();
        let mut told = headers(&lies);
        client("2001:db8::1", &lies).lines(&host).write(&mut told);
        let expected = headers(&[
            (
                "forwarded",
                "for=\"[2001:db8::1]\";host=\"alice.example:8080\";proto=http",
            ),
            ("x-forwarded-for", "2001:db8::1"),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-host", "alice.example:8080"),
            ("accept", "*/*"),
        ]);
        assert_eq!(told, expected);

        let truths = [
            ("x-forwarded-for", "9.9.9.9, 192.0.2.1, fd00::1"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "alice.example"),
        ];
        let mut told = headers(&truths);
        let found = client("10.0.0.1", &truths);
        found.lines(&host).write(&mut told);
        let expected = headers(&[
            (
                "forwarded",
                "for=192.0.2.1;host=\"alice.example\";proto=https, for=\"[fd00::1]\", for=10.0.0.1",
            ),
            ("x-forwarded-for", "192.0.2.1, fd00::1, 10.0.0.1"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "alice.example"),
        ]);
        assert_eq!(told, expected);
    }

    proptest! {
        #[test]
        fn any_headers_are_read(bytes in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..128),
            // Header lines of pieces that mean something, in any order.
            proptest::collection::vec(
                proptest::sample::select(vec![
                    "\0", "\u{1}", "\u{2}", "\u{3}", "\n", ",", ";", "=", "\"", "\\", ":", " ", "for", "proto",
                    "host", "https", "http", "unknown", "_x", "10.0.0.1", "10.0.0.2", "192.0.2.1", "[::1]",
                    "::ffff:10.0.0.3", "80", "a.example",
                ]),
                0..40,
            )
            .prop_map(|pieces| pieces.concat().into_bytes()),
        ]) {
            crate::fuzzing::forwarded(&bytes);
        }
    }
}
