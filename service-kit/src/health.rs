//! Asking a server for its health, over `grpc.health.v1`.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tonic::transport::Endpoint;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::{socket::Socket, tls::Tls, unchecked};

/// How long an answer may take, the connection included. Shorter than what those who ask in a loop allow.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);

/// How a server is reached that is asked for its health.
#[derive(Clone, Debug)]
pub enum Way {
    /// Without TLS.
    Plain,
    /// Over TLS between servers: both show a certificate of the installation's own authority.
    Mutual(Tls),
    /// Over TLS, whatever certificate the server shows: nothing secret is sent.
    Unchecked,
}

impl Way {
    async fn connect(&self, address: SocketAddr) -> std::io::Result<Socket> {
        let stream = TcpStream::connect(address).await?;
        Ok(match self {
            Self::Plain => Socket::Plain(stream),
            Self::Mutual(tls) => tls.connect_nameless(stream).await?.into(),
            Self::Unchecked => unchecked::connect(stream).await?.into(),
        })
    }
}

/// The name under which a service tells whether its database answers.
pub const DATABASE: &str = "database";

/// Why a server does not count as healthy.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be reached.
    #[error("{address} cannot be reached: {}", innermost(source))]
    Unreachable {
        /// Where it was looked for.
        address: SocketAddr,
        /// Why not.
        source: tonic::transport::Error,
    },
    /// It does not answer health checks.
    #[error("{address} does not tell its health: {}", status.message())]
    NoAnswer {
        /// Who was asked.
        address: SocketAddr,
        /// What came instead.
        status: Box<tonic::Status>,
    },
    /// It does not answer in time.
    #[error("{address} does not answer within {ANSWER_WITHIN:?}")]
    Late {
        /// Who was asked.
        address: SocketAddr,
    },
    /// It says itself that it does not serve.
    #[error("{address} says that it does not serve")]
    NotServing {
        /// Who was asked.
        address: SocketAddr,
    },
}

/// Asks the server that listens on `address` for its health, and returns the address that was asked: the
/// loopback address for a server that listens on all addresses.
pub async fn ask(address: SocketAddr, way: Way) -> Result<SocketAddr, Error> {
    let address = reachable(address);
    tokio::time::timeout(ANSWER_WITHIN, check(address, way))
        .await
        .map_err(|_late| Error::Late { address })?
}

async fn check(address: SocketAddr, way: Way) -> Result<SocketAddr, Error> {
    let unreachable = |source| Error::Unreachable { address, source };
    let channel = Endpoint::from_shared(format!("http://{address}"))
        .map_err(unreachable)?
        .connect_with_connector(tower::service_fn(move |_| {
            let way = way.clone();
            async move { Ok::<_, std::io::Error>(TokioIo::new(way.connect(address).await?)) }
        }))
        .await
        .map_err(unreachable)?;
    let answer = HealthClient::new(channel)
        .check(HealthCheckRequest::default())
        .await
        .map_err(|status| Error::NoAnswer {
            address,
            status: Box::new(status),
        })?;
    if answer.get_ref().status() == ServingStatus::Serving {
        Ok(address)
    } else {
        Err(Error::NotServing { address })
    }
}

/// Where a server that listens on `address` is reached from its own machine.
#[must_use]
pub fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        });
    }
    address
}

fn innermost(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

#[cfg(test)]
mod tests {
    use super::reachable;

    #[test]
    fn a_server_on_every_address_is_asked_on_loopback() {
        for (listens, asked) in [
            ("0.0.0.0:7001", "127.0.0.1:7001"),
            ("[::]:7001", "[::1]:7001"),
            ("10.1.2.3:7001", "10.1.2.3:7001"),
        ] {
            assert_eq!(
                listens
                    .parse()
                    .map(|address| reachable(address).to_string()),
                Ok(asked.to_owned())
            );
        }
    }
}
