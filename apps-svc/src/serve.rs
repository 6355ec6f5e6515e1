//! Serves the apps service.

use std::path::PathBuf;

use couch::Clusters;
use futures::future::BoxFuture;
use hamlet_proto::hamlet::apps::v1::{
    apps_lifecycle_service_server::AppsLifecycleServiceServer,
    apps_service_server::AppsServiceServer,
};
use service_kit::{
    caller::Authenticate,
    contexts::Contexts,
    peer::Peer,
    secret::Keyring,
    server::{GrpcServer, Listener},
};
use tokio_util::sync::CancellationToken;

use crate::{
    actions::{Shared, sweep},
    api::{Apps, Lifecycle, http},
    archive::Limits,
    code::Code,
    config::Config,
    contents::Contents,
    error::Error,
    sources::{Client, Sources},
};

/// Why serving ended.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The folder of contents cannot be used.
    #[error("contents: cannot use the folder {}: {source}", folder.display())]
    Contents {
        /// The folder.
        folder: PathBuf,
        /// The cause.
        source: Error,
    },
    /// The HTTP client cannot be created.
    #[error("the HTTP client cannot be made: {0}")]
    Client(#[from] reqwest::Error),
    /// The database cannot be used.
    #[error("the database cannot be used: {0}")]
    Database(#[from] couch::Error),
    /// The server failed.
    #[error("the apps service failed: {0}")]
    Server(#[from] service_kit::server::Error),
}

/// The dependencies of the apps service.
#[derive(Debug)]
pub struct Dependencies {
    /// The CouchDB clusters.
    pub couch: Clusters,
    /// The configured contexts.
    pub contexts: Contexts,
    /// The cluster key, by which services authenticate each other.
    pub cluster_key: Keyring,
    /// The instance service, which knows what the pages of apps hold.
    pub instances: Peer,
    /// A folder of apps (`SLUG/manifest.webapp` and so on), in which slugs are looked up for contexts without
    /// registries.
    pub app_folder: Option<PathBuf>,
}

/// Serves until `shutdown` completes.
///
/// # Errors
/// When the folder of contents or the database cannot be used, or the listener fails.
pub fn serve(
    config: Config,
    dependencies: Dependencies,
    listener: impl Into<Listener>,
    shutdown: CancellationToken,
) -> BoxFuture<'static, Result<(), ServeError>> {
    serve_on(config, dependencies, listener.into(), shutdown)
}

/// Boxed and not generic, so that the service is compiled once, in this crate. A plain future would be compiled again
/// in each program and test that awaits it.
fn serve_on(
    config: Config,
    dependencies: Dependencies,
    listener: Listener,
    shutdown: CancellationToken,
) -> BoxFuture<'static, Result<(), ServeError>> {
    Box::pin(run(config, dependencies, listener, shutdown))
}

async fn run(
    config: Config,
    dependencies: Dependencies,
    listener: Listener,
    shutdown: CancellationToken,
) -> Result<(), ServeError> {
    let contents = Contents::open(&config.contents).map_err(|source| ServeError::Contents {
        folder: config.contents,
        source,
    })?;
    tokio::select! {
        up = database_kit::wait_until_up(&dependencies.couch) => up?,
        () = shutdown.cancelled() => return Ok(()),
    }
    let mut roots = config.sources.app_roots;
    roots.extend(dependencies.app_folder.clone());
    let code = Code::new(dependencies.contexts.clone());
    let sources = Sources {
        client: Client::new(&config.sources.app_networks)?,
        contexts: dependencies.contexts,
        app_folder: dependencies.app_folder,
        roots,
        limits: Limits::default(),
    };
    let shared = Shared::new(
        dependencies.couch,
        contents.clone(),
        code,
        sources,
        dependencies.instances,
    );
    let door = Authenticate::new(dependencies.cluster_key);
    let server = GrpcServer::new()?
        .with(AppsServiceServer::with_interceptor(
            Apps(shared.clone()),
            door.clone(),
        ))
        .with(AppsLifecycleServiceServer::with_interceptor(
            Lifecycle(shared.clone()),
            door.clone(),
        ))
        .with_http(http::routes(shared), door);
    // The sweep may be dropped at any point.
    tokio::select! {
        served = server.serve(listener, shutdown) => Ok(served?),
        () = sweep::run(contents) => Ok(()),
    }
}
