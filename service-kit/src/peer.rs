//! The way from one service to another.

use std::time::Duration;

use tonic::{
    service::interceptor::InterceptedService,
    transport::{Channel, Endpoint},
};

use crate::{caller::AttachKey, secret::Keyring};

/// A connection to another service that carries the cluster key.
pub type Peer = InterceptedService<Channel, AttachKey>;

/// Why there is no way to a peer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is no URL.
    #[error("{address:?} is not an address of a service; it looks like http://host:port")]
    Address {
        /// What was given.
        address: String,
        /// What is wrong with it.
        #[source]
        source: tonic::transport::Error,
    },
    /// The key cannot stand in a header.
    #[error("the cluster key may hold printable ASCII characters only")]
    Key,
}

/// Makes a connection to `address` (`http://host:port`), which is opened at the first call and
/// again whenever it breaks. Calls need deadlines of their own.
///
/// # Errors
/// When the address or the key cannot be used.
pub fn connect(address: &str, key: impl Into<Keyring>) -> Result<Peer, Error> {
    let endpoint = Endpoint::from_shared(address.to_owned())
        .map_err(|source| Error::Address {
            address: address.to_owned(),
            source,
        })?
        .connect_timeout(Duration::from_secs(2))
        .tcp_nodelay(true)
        .http2_keep_alive_interval(Duration::from_secs(10))
        .keep_alive_timeout(Duration::from_secs(5));
    let attach = AttachKey::new(key).ok_or(Error::Key)?;
    Ok(InterceptedService::new(endpoint.connect_lazy(), attach))
}
