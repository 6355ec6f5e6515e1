//! Hamlet's gateway: it finds the instance by the host of a request and forwards the request.
//!
//! It has two doors, which are listeners of their own. The public door takes HTTP/1.1 and HTTP/2 on one
//! port, resolves the host, refuses blocked and deleted instances, forwards gRPC and serves a few pages.
//! The admin door needs the admin credential and forwards gRPC.
//!
//! From the outside in: `accept` holds the connections, `door` handles the requests of a door, `host` and
//! `directory` find the instance, `route` the service, `forward` forwards the call. `refusal`, `answer`
//! and `pages` are the gateway's own answers.

mod accept;
mod answer;
mod config;
mod credential;
mod directory;
mod door;
mod forward;
mod health;
mod host;
mod http2;
mod onboarding;
mod pages;
pub mod program;
mod refusal;
mod route;
mod services;
mod tenants;

use std::sync::Arc;

use futures::future::BoxFuture;
use service_kit::peer::AddressError;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use config::{Config, Secrets};

use crate::{
    accept::Acceptor,
    credential::Credential,
    directory::Directory,
    door::{AdminDoor, PublicDoor},
    forward::Forwarder,
    health::Health,
    onboarding::Onboarding,
    pages::Pages,
    services::Services,
    tenants::Tenants,
};

/// Why the gateway cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The addresses of a service cannot be used.
    #[error("{setting}: {source}")]
    Address {
        /// The setting that holds them.
        setting: &'static str,
        /// What is wrong with them.
        source: AddressError,
    },
    /// The cluster key cannot be used.
    #[error(transparent)]
    Peer(#[from] service_kit::peer::Error),
    /// A listener failed.
    #[error("the listener failed")]
    Listener(#[from] std::io::Error),
    /// The texts of the pages cannot be read.
    #[error("the texts of the pages are not well-formed")]
    Texts(#[from] serde_json::Error),
}

/// Serves both doors until `shutdown`, then waits for running calls for at most `config.drain`.
///
/// The listeners are bound already: `config.listen` and `config.admin_listen` are not used here.
///
/// # Errors
/// When a setting cannot be used, at once; when a listener fails, later.
pub fn serve(
    config: Config,
    public: TcpListener,
    admin: TcpListener,
    secrets: Secrets,
    shutdown: CancellationToken,
) -> BoxFuture<'static, Result<(), Error>> {
    // Boxed, so that the gateway is compiled in this crate, once: a plain future is compiled again in each crate
    // that awaits it.
    Box::pin(run(config, public, admin, secrets, shutdown))
}

async fn run(
    config: Config,
    public: TcpListener,
    admin: TcpListener,
    secrets: Secrets,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let pages = Arc::new(Pages::new()?);
    let services = Services::new(&config, secrets.tls.as_ref())?;
    let directory = Arc::new(Directory::new(&config, &services, &secrets.cluster_key)?);
    let forwarder = |limits| Forwarder::new(&config, &services, &secrets.cluster_key, limits);
    let (health, health_service) = Health::new(&services, directory.state());
    let onboarding = Onboarding {
        tenants: Tenants::new(&services, &secrets.cluster_key)?,
        directory: Arc::clone(&directory),
        pages: Arc::clone(&pages),
    };
    let public_door = PublicDoor {
        onboarding,
        directory: Arc::clone(&directory),
        forwarder: forwarder(forward::Limits::of_public(&config))?,
        pages,
        readiness: health.readiness(),
    };
    // Connections and limits of its own: a busy public door cannot lock administrators out.
    let admin_forwarder = forwarder(forward::Limits::of_admin(&config))?;
    let admin_door = AdminDoor {
        readiness: health.readiness(),
        directory,
        forwarder: admin_forwarder,
        credential: Credential::new(secrets.admin_credential),
        health: health_service,
    };
    tracing::debug!("the gateway serves");
    let watching = health.watch(shutdown.clone());
    let serving = async {
        tokio::try_join!(
            Acceptor::new(&config, public, shutdown.clone()).serve(Arc::new(public_door)),
            Acceptor::new(&config, admin, shutdown.clone()).serve(Arc::new(admin_door)),
        )
    };
    tokio::select! {
        served = serving => { served?; }
        never = watching => match never {},
    }
    Ok(())
}
