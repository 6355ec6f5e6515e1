//! Which addresses apps may be downloaded from.
//!
//! A source is written by administrators and tools, an archive's address by registries, and a redirect by any server.
//! None of them may make this service call what only machines of its own network can reach. So an address is checked
//! after its name is resolved, and the checked address is the one that is used.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use ipnet::IpNet;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// The addresses that may be used: public ones, and those of these networks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Allowed(Arc<[IpNet]>);

impl Allowed {
    pub(crate) fn new(networks: &[IpNet]) -> Self {
        Self(networks.into())
    }

    pub(crate) fn has(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        is_public(address) || self.0.iter().any(|network| network.contains(&address))
    }
}

/// Resolves names to the addresses that may be used, and to no other.
impl Resolve for Allowed {
    fn resolve(&self, name: Name) -> Resolving {
        let allowed = self.clone();
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let found: Vec<SocketAddr> = found.filter(|it| allowed.has(it.ip())).collect();
            if found.is_empty() {
                return Err(Box::new(io::Error::other(NotPublic)) as _);
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// A name has no address that may be used.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("has no public address")]
pub(crate) struct NotPublic;

/// Whether anybody in the internet can reach an address, by the special-purpose registries of IANA (RFC 6890).
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let is_special = address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_documentation()
        || a == 0
        || a >= 240
        // Shared address space of providers, benchmarks, protocol assignments, relays from IPv6.
        || (a == 100 && (64..128).contains(&b))
        || (a == 198 && (b == 18 || b == 19))
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 88 && c == 99);
    !is_special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, c, d, e, f, g, h] = address.segments();
    // An address that stands for an IPv4 address: translated (RFC 6052), or 6to4.
    if (a, b, c, d, e, f) == (0x64, 0xff9b, 0, 0, 0, 0) {
        return is_public_v4(v4(g, h));
    }
    if a == 0x2002 {
        return is_public_v4(v4(b, c));
    }
    let is_global = a & 0xe000 == 0x2000;
    let is_special = matches!((a, b), (0x2001, ..0x200 | 0xdb8) | (0x3fff, ..0x1000));
    is_global && !is_special
}

fn v4(high: u16, low: u16) -> Ipv4Addr {
    let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
    Ipv4Addr::new(a, b, c, d)
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use super::Allowed;

    #[test]
    fn only_public_addresses_and_allowed_networks_may_be_used() {
        let none = Allowed::default();
        for public in ["1.1.1.1", "8.8.8.8", "2606:4700::1111", "64:ff9b::101:101"] {
            assert!(none.has(public.parse().unwrap()), "{public}");
        }
        for inside in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "127.8.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "192.0.0.170",
            "192.0.2.1",
            "192.168.1.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "2001::1",
            "2001:db8::1",
            "fc00::1",
            "fe80::1",
            "ff02::1",
        ] {
            assert!(!none.has(inside.parse().unwrap()), "{inside}");
        }
        let some = Allowed::new(&["10.1.0.0/16".parse().unwrap()]);
        assert!(some.has("10.1.2.3".parse().unwrap()));
        assert!(some.has("::ffff:10.1.2.3".parse().unwrap()));
        assert!(!some.has("10.2.2.3".parse().unwrap()));
    }
}
