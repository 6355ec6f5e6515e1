//! Hamlet's gateway: it finds the instance by the host of a request and forwards the request.
//!
//! It has two doors, which are listeners of their own. The public door takes HTTP/1.1 and HTTP/2 on one
//! port, resolves the host, refuses blocked and deleted instances, finds out who calls, and forwards.
//! The admin door needs the admin credential and forwards gRPC and the JSON API.
//!
//! From the outside in: `accept` holds the connections, `door` handles the requests of a door, `host` and
//! `directory` find the instance, `gate` says what its state lets pass, `route` finds the service, `forward` forwards the
//! call to it or to the backend of the instance. `refusal`, `answer`
//! and `pages` are the gateway's own answers.

mod accept;
mod answer;
mod caller;
mod certificates;
mod config;
mod cors;
mod credential;
mod directory;
mod door;
mod exposure;
mod files;
mod forward;
#[doc(hidden)]
pub mod fuzzing;
mod gate;
mod guesses;
mod health;
mod host;
mod http2;
mod identities;
mod pages;
pub mod program;
mod proxied;
mod refusal;
mod route;
mod secure;
mod seldom;
mod services;

use std::{num::NonZeroUsize, sync::Arc, thread::available_parallelism};

use futures::future::BoxFuture;
use service_kit::peer::AddressError;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use config::{Config, LimitFlags, Secrets};
pub use exposure::{ExposureError, ExposureFlags};
pub use route::{HttpRoutes, Service};

use crate::{
    accept::{Acceptor, Entrance, Workers},
    credential::Credential,
    directory::Directory,
    door::{AdminDoor, PublicDoor},
    forward::{Backends, Forwarder, Withdrawal},
    guesses::Guesses,
    health::Health,
    identities::Identities,
    pages::Pages,
    proxied::TrustedProxies,
    secure::Redirect,
    services::Services,
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
    /// The settings of TLS and of proxies in front cannot be used.
    #[error(transparent)]
    Exposure(#[from] ExposureError),
    /// A listener failed.
    #[error("the listener failed")]
    Listener(#[from] std::io::Error),
    /// The texts of the pages cannot be read.
    #[error("the texts of the pages are not well-formed")]
    Texts(#[from] serde_json::Error),
}

/// Serves both doors until `shutdown`, then waits for running calls for at most `config.limits.drain`.
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
    let exposure = Arc::new(config.exposure.open()?);
    let services = Services::new(&config, secrets.tls.as_ref())?;
    let directory = Arc::new(Directory::new(&config, &services, &secrets.cluster_key)?);
    let identities = Arc::new(Identities::new(&services, &secrets.cluster_key)?);
    let backends = Arc::new(Backends::new(&config));
    let (health, health_service) = Health::new(&services, directory.state(), &backends);
    let guesses = Arc::<Guesses>::default();
    let credential = Arc::new(Credential::new(secrets.admin_credential));
    let threads = config
        .limits
        .threads
        .unwrap_or_else(|| available_parallelism().map_or(1, NonZeroUsize::get));
    let workers = Workers::start(threads)?;
    // Connections and limits of its own: a busy public door cannot lock administrators out.
    let limits = [
        forward::Limits::of_public(&config),
        forward::Limits::of_admin(&config),
    ];
    let [public_limits, admin_limits] = &limits;
    let forwarder = |limits, gate| {
        let (key, threads) = (&secrets.cluster_key, workers.count());
        Forwarder::new(&config, &services, key, limits, &backends, gate, threads)
    };
    let mut public_doors = Vec::with_capacity(workers.count());
    let mut admin_doors = Vec::with_capacity(workers.count());
    for _ in 0..workers.count() {
        public_doors.push(Arc::new(PublicDoor {
            identities: Arc::clone(&identities),
            directory: Arc::clone(&directory),
            forwarder: forwarder(public_limits, Some(&directory))?,
            pages: Arc::clone(&pages),
            readiness: health.readiness(),
            exposure: Arc::clone(&exposure),
            routes: config.http_routes.clone(),
        }));
        admin_doors.push(Arc::new(AdminDoor {
            readiness: health.readiness(),
            exposure: Arc::clone(&exposure),
            directory: Arc::clone(&directory),
            forwarder: forwarder(admin_limits, None)?,
            credential: Arc::clone(&credential),
            health: health_service.clone(),
            guesses: Arc::clone(&guesses),
        }));
    }
    let room = files::connections(&config);
    let with_header = if exposure.proxy_protocol {
        exposure.trusted.clone()
    } else {
        TrustedProxies::default()
    };
    let redirect = match config.exposure.redirect_listen {
        Some(address) => Some(Redirect {
            listener: TcpListener::bind(address).await?,
            port: public.local_addr()?.port(),
            with_header: with_header.clone(),
        }),
        None => None,
    };
    for certificates in [&exposure.public, &exposure.admin].into_iter().flatten() {
        tokio::spawn(certificates.clone().watch(shutdown.clone()));
    }
    let redirecting = {
        let shutdown = shutdown.clone();
        async move {
            match redirect {
                Some(redirect) => redirect.serve(shutdown).await,
                None => Ok(()),
            }
        }
    };
    // Only now: a setting that cannot be used has ended the start before.
    tracing::info!(public = %public.local_addr()?, admin = %admin.local_addr()?, "the gateway listens");
    let entrance = Entrance {
        certificates: exposure.public.clone(),
        with_header,
    };
    let public =
        Acceptor::new::<PublicDoor>(&config, room.public, entrance, public, shutdown.clone());
    let entrance = Entrance {
        certificates: exposure.admin.clone(),
        with_header: TrustedProxies::default(),
    };
    let admin = Acceptor::new::<AdminDoor>(&config, room.admin, entrance, admin, shutdown.clone());
    let watching = health.watch(shutdown);
    let withdrawal = Withdrawal {
        directory: Arc::clone(&directory),
        backends: Arc::clone(&backends),
    };
    let ending = async {
        tokio::join!(
            public_limits.watch(),
            admin_limits.watch(),
            withdrawal.watch(public_limits)
        )
    };
    let serving = async {
        tokio::try_join!(
            public.serve(public_doors, &workers),
            admin.serve(admin_doors, &workers),
            redirecting,
        )
    };
    tokio::select! {
        served = serving => { served?; }
        // It has no end.
        _ = ending => {}
        never = watching => match never {},
    }
    Ok(())
}
