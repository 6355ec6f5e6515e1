//! How many OAuth clients strangers may register.
//!
//! A registration is open to everybody, so it is counted by the network it comes from and by the instance that it is for, in
//! windows of an hour.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use crate::{ration::Ration, tries::network};

const WINDOW: Duration = Duration::from_secs(3600);
/// How many of one network are let through to one instance in a window.
const OF_NETWORK: u32 = 30;
/// How many of all networks together.
const OF_INSTANCE: u32 = 120;

/// The registrations of everybody, in the memory of this process.
#[derive(Debug)]
pub struct Allowance {
    networks: Ration,
    instances: Ration,
}

impl Default for Allowance {
    fn default() -> Self {
        Self {
            networks: Ration::new(WINDOW),
            instances: Ration::new(WINDOW),
        }
    }
}

impl Allowance {
    /// Counts a registration, or a change of one. A network that has used up its share takes nothing from the instance.
    ///
    /// # Errors
    /// How long whoever asks has to wait.
    pub fn take(&self, address: IpAddr, instance: &str, now: Instant) -> Result<(), Duration> {
        let of_network = format!("{instance} {}", network(address));
        self.networks.take(&of_network, OF_NETWORK, now)?;
        self.instances.take(instance, OF_INSTANCE, now)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        net::{IpAddr, Ipv6Addr},
        time::{Duration, Instant},
    };

    use super::{Allowance, OF_INSTANCE, OF_NETWORK, WINDOW};

    fn address(network: u128) -> IpAddr {
        Ipv6Addr::from_bits(network << 64).into()
    }

    #[test]
    fn a_network_has_its_share_of_an_hour_and_an_instance_an_end() {
        let allowance = Allowance::default();
        let now = Instant::now();
        let take = |network, instance, now| allowance.take(address(network), instance, now).is_ok();
        let of_one = (0..1000).filter(|_| take(1, "a", now)).count();
        assert_eq!(of_one, OF_NETWORK as usize);
        assert!(take(1, "b", now));
        let of_all = (2..1000).filter(|network| take(*network, "a", now)).count();
        assert_eq!(of_all, (OF_INSTANCE - OF_NETWORK) as usize);
        let wait = allowance.take(address(1), "a", now + Duration::from_secs(60));
        assert_eq!(wait, Err(WINDOW - Duration::from_secs(60)));
        assert!(take(1, "a", now + WINDOW));
    }
}
