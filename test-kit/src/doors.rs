//! Ways to what is tested: sockets of its own, and clients with what its doors ask for.

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

/// The key that the services of a test share.
pub const CLUSTER_KEY: &str = "the cluster key of the tests";
/// The credential of an admin door.
pub const ADMIN_CREDENTIAL: &str = "the-admin-credential";

/// [`CLUSTER_KEY`], as services take it.
#[must_use]
pub fn cluster_key() -> Secret {
    Secret::new(CLUSTER_KEY)
}

/// A free port of this machine, and its address.
///
/// # Panics
/// When there is none.
pub async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    (listener, address)
}

/// An instance that services are called for, with a prefix that nobody else has.
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

/// What a caller shows with each call.
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

/// A connection on which each call carries what its door asks for. Clients are made of it.
pub type Way = InterceptedService<Channel, Headers>;

/// A service that listens, as the gateway and other services reach it.
#[derive(Clone, Debug)]
pub struct Service(Channel);

impl Service {
    /// Connects to the service at this address.
    ///
    /// # Panics
    /// When nobody listens there.
    pub async fn at(address: SocketAddr) -> Self {
        let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address");
        Self(endpoint.connect().await.expect("the service listens"))
    }

    /// A way with the cluster key, for calls that came through this door.
    #[must_use]
    pub fn through(&self, door: Door) -> Way {
        let headers = Headers(vec![
            (KEY_HEADER, MetadataValue::from_static(CLUSTER_KEY)),
            (DOOR_HEADER, MetadataValue::from_static(door.as_str())),
        ]);
        InterceptedService::new(self.0.clone(), headers)
    }

    /// A way without the cluster key.
    #[must_use]
    pub fn stranger(&self) -> Channel {
        self.0.clone()
    }
}

/// A way through the admin door of a gateway at `address`, for calls of the instance that has this host.
///
/// # Panics
/// When the door does not open, or the credential cannot stand in a header.
pub async fn admin(address: impl Display, host: &str, credential: &str) -> Way {
    let channel = Endpoint::from_shared(format!("http://{address}"))
        .expect("an address")
        .origin(format!("http://{host}").parse().expect("a host"))
        .connect_timeout(Duration::from_secs(5))
        .connect()
        .await
        .expect("the door opens");
    let bearer = format!("Bearer {credential}").parse();
    let bearer = bearer.expect("the credential can stand in a header");
    InterceptedService::new(channel, Headers(vec![("authorization", bearer)]))
}
