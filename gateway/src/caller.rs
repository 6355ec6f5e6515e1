//! What the limits of a client are counted by.

use std::net::{IpAddr, Ipv6Addr};

/// An address of IPv4, or a network of IPv6 as one customer gets it (/64).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct CallerKey(IpAddr);

impl CallerKey {
    /// The key of an address.
    pub(crate) fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V4(address) => address.into(),
            IpAddr::V6(address) => {
                Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into()
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::CallerKey;

    #[test]
    fn a_network_of_ipv6_counts_as_one_caller() {
        let key = |text: &str| text.parse().ok().map(CallerKey::of);
        assert_eq!(key("2001:db8::1"), key("2001:db8::ffff:1"));
        assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
        assert_eq!(key("::ffff:192.0.2.1"), key("192.0.2.1"));
        assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
    }
}
