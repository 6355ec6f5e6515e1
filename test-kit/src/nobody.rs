//! An address at which nobody listens.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::TcpSocket;

/// An address that refuses connections. Nobody else gets its port while this value lives: one that was freed may be given
/// to another test at once.
#[derive(Debug)]
pub struct Nobody {
    _held: TcpSocket,
    /// The address.
    pub address: SocketAddr,
}

impl Nobody {
    /// Takes a port, and does not listen at it.
    ///
    /// # Panics
    /// When there is no free port.
    #[must_use]
    pub fn at_loopback() -> Self {
        let held = TcpSocket::new_v4().expect("a socket");
        held.bind((Ipv4Addr::LOCALHOST, 0).into())
            .expect("a free port");
        let address = held.local_addr().expect("the address of a bound socket");
        Self {
            _held: held,
            address,
        }
    }
}
