//! A gateway between a fake instance service and a fake files service.

mod client;
mod directory;
mod service;

use std::{net::SocketAddr, time::Duration};

use gateway::{Config, Secrets};
use service_kit::secret::Secret;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

pub(crate) use self::{
    client::{Answer, Client, http},
    directory::{Directory, EXPIRED, TOKEN, instance},
    service::{Event, Service},
};

pub(crate) const CLUSTER_KEY: &str = "the cluster key";
pub(crate) const CREDENTIAL: &str = "the admin credential";
/// How long a test waits for what has to happen. Not a measure of anything.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// Everything that a test talks to.
pub(crate) struct World {
    pub(crate) directory: Directory,
    pub(crate) files: Service,
    pub(crate) public: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) stop: CancellationToken,
    pub(crate) gateway: JoinHandle<Result<(), gateway::Error>>,
}

impl World {
    /// A gateway with the settings that `change` makes, and an active instance `alice.example`.
    pub(crate) async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let directory = Directory::start().await;
        directory.set("alice.example", instance("alice.example"));
        let files = Service::start().await;
        let public = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let admin = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut config = Config {
            instance_service: format!("http://{}", directory.address),
            files_service: format!("http://{}", files.address),
            apps_service: format!("http://{}", files.address),
            ..Config::default()
        };
        change(&mut config);
        let secrets = Secrets {
            cluster_key: Secret::new(CLUSTER_KEY).into(),
            admin_credential: Secret::new(CREDENTIAL).into(),
            tls: None,
        };
        let stop = CancellationToken::new();
        Self {
            public: public.local_addr().unwrap(),
            admin: admin.local_addr().unwrap(),
            gateway: tokio::spawn(gateway::serve(config, public, admin, secrets, stop.clone())),
            directory,
            files,
            stop,
        }
    }

    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// A connection to the public door.
    pub(crate) async fn client(&self) -> Client {
        Client::connect(self.public).await
    }

    /// A connection to the admin door.
    pub(crate) async fn administrator(&self) -> Client {
        Client::connect(self.admin).await
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Tries again until `check` holds.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut check: impl FnMut() -> F) {
    let trying = async {
        while !check().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(SOON, trying)
        .await
        .unwrap_or_else(|_| panic!("never came true: {what}"));
}
