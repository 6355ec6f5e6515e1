//! A gateway between a fake instance service and a files service that speaks frames.

mod client;
mod leaving;
mod oddity;
mod process;
mod service;
mod web;

use std::{net::SocketAddr, time::Duration};

use gateway::{Config, Secrets};
use service_kit::secret::Secret;
use test_kit::{
    doors::{ADMIN_CREDENTIAL, cluster_key, listen},
    fake::{Directory, active_instance},
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) use self::{
    client::{Answer, Client, ask_until, http},
    leaving::Leaving,
    oddity::{Oddity, Oddly},
    process::Process,
    service::{Event, Service},
    web::Web,
};

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
        let directory = Directory::start();
        directory.set("alice.example", active_instance("alice.example"));
        let files = Service::start().await;
        let (public, public_address) = listen().await;
        let (admin, admin_address) = listen().await;
        let mut config = Config {
            instance_service: format!("http://{}", directory.address()),
            files_service: format!("http://{}", files.address),
            apps_service: format!("http://{}", files.address),
            ..Config::default()
        };
        change(&mut config);
        let secrets = Secrets {
            cluster_key: cluster_key().into(),
            admin_credential: Secret::new(ADMIN_CREDENTIAL).into(),
            tls: None,
        };
        let stop = CancellationToken::new();
        Self {
            public: public_address,
            admin: admin_address,
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
