//! Listeners for services under test, and clients with the headers that each kind of caller sends.

use std::{fmt::Display, net::SocketAddr, time::Duration};

use hamlet_proto::hamlet::instance::v1::Tenant;
use service_kit::{
    caller::{DOOR_HEADER, Door, KEY_HEADER},
    secret::Secret,
};
use tokio::net::TcpListener;
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};

/// The cluster key of the services in tests.
pub const CLUSTER_KEY: &str = "the cluster key of the tests";
/// The credential of the admin door in tests.
pub const ADMIN_CREDENTIAL: &str = "the-admin-credential";

/// [`CLUSTER_KEY`] as a keyring.
#[must_use]
pub fn cluster_key() -> Secret {
    Secret::new(CLUSTER_KEY)
}

/// A listener on a free port, and its address.
///
/// # Panics
/// When no port is free.
pub async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    (listener, address)
}

/// A tenant with a unique prefix.
#[must_use]
pub fn tenant(prefix: String) -> Tenant {
    Tenant {
        id: "1".to_owned(),
        domain: "bob.localhost:8085".to_owned(),
        prefix,
        locale: "en".to_owned(),
        url: "http://bob.localhost:8085/".to_owned(),
        ..Tenant::default()
    }
}

/// The headers that a caller sends with each call.
#[derive(Clone, Debug)]
pub struct Headers(Vec<(&'static str, MetadataValue<Ascii>)>);

impl Interceptor for Headers {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        for (name, value) in &self.0 {
            request.metadata_mut().insert(*name, value.clone());
        }
        Ok(request)
    }
}

/// A channel that adds the headers of its caller to each call. Clients are created from it.
pub type Way = InterceptedService<Channel, Headers>;

/// A running service, as the gateway and other services reach it.
#[derive(Clone, Debug)]
pub struct Service(Channel);

impl Service {
    /// Connects to the service at this address.
    ///
    /// # Panics
    /// When nothing listens there.
    pub async fn at(address: SocketAddr) -> Self {
        let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address");
        Self(endpoint.connect().await.expect("the service listens"))
    }

    /// A channel with the cluster key, for calls that came through this door.
    #[must_use]
    pub fn through(&self, door: Door) -> Way {
        let headers = Headers(vec![
            (KEY_HEADER, MetadataValue::from_static(CLUSTER_KEY)),
            (DOOR_HEADER, MetadataValue::from_static(door.as_str())),
        ]);
        InterceptedService::new(self.0.clone(), headers)
    }

    /// A channel without the cluster key.
    #[must_use]
    pub fn stranger(&self) -> Channel {
        self.0.clone()
    }
}

/// A channel to the admin door of a gateway at `address`, for calls to the instance with this host.
///
/// # Panics
/// When the connection fails, or the credential is not valid in a header.
pub async fn admin(address: impl Display, host: &str, credential: &str) -> Way {
    way(address, host, Some(credential)).await
}

/// A channel to the public door of a gateway at `address`, for calls to the instance with this host by whoever has this
/// token.
///
/// # Panics
/// When the connection fails, or the token is not valid in a header.
pub async fn public(address: impl Display, host: &str, token: Option<&str>) -> Way {
    way(address, host, token).await
}

async fn way(address: impl Display, host: &str, bearer: Option<&str>) -> Way {
    let channel = Endpoint::from_shared(format!("http://{address}"))
        .expect("an address")
        .origin(format!("http://{host}").parse().expect("a host"))
        .connect_timeout(Duration::from_secs(5))
        .connect()
        .await
        .expect("the door opens");
    let bearer = bearer.map(|bearer| {
        let bearer = format!("Bearer {bearer}").parse();
        bearer.expect("what the caller has can stand in a header")
    });
    let headers = bearer.map(|bearer| ("authorization", bearer));
    InterceptedService::new(channel, Headers(headers.into_iter().collect()))
}
