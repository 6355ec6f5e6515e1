//! Serves the files service.

use std::{io, path::PathBuf};

use couch::Clusters;
use futures::future::BoxFuture;
use hamlet_proto::hamlet::files::v1::{
    files_lifecycle_service_server::FilesLifecycleServiceServer,
    files_service_server::FilesServiceServer,
};
use service_kit::{
    caller::Authenticate,
    contexts::Contexts,
    secret::Keyring,
    server::{GrpcServer, Listener},
};
use tokio_util::sync::CancellationToken;

use crate::{
    api::{lifecycle::Lifecycle, tree::Tree},
    config::Config,
    contents::Contents,
    folders::Folders,
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
        source: io::Error,
    },
    /// The database cannot be used.
    #[error("the database cannot be used: {0}")]
    Database(#[from] couch::Error),
    /// The server failed.
    #[error("the files service failed: {0}")]
    Server(#[from] service_kit::server::Error),
}

/// The dependencies of the files service.
#[derive(Debug)]
pub struct Dependencies {
    /// The CouchDB clusters.
    pub couch: Clusters,
    /// The configured contexts.
    pub contexts: Contexts,
    /// The cluster key, by which services authenticate each other.
    pub cluster_key: Keyring,
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
    let contents =
        Contents::open(config.contents.clone()).map_err(|source| ServeError::Contents {
            folder: config.contents,
            source,
        })?;
    tokio::select! {
        up = database_kit::wait_until_up(&dependencies.couch) => up?,
        () = shutdown.cancelled() => return Ok(()),
    }
    let door = Authenticate::new(dependencies.cluster_key);
    let folders = Folders::new(contents.store(), dependencies.contexts.storages());
    let lifecycle = Lifecycle {
        couch: dependencies.couch.clone(),
        contents: contents.clone(),
        folders,
        contexts: dependencies.contexts.clone(),
    };
    let tree = Tree {
        couch: dependencies.couch,
        contents,
        contexts: dependencies.contexts,
    };
    let server = GrpcServer::new()?
        .with(FilesServiceServer::with_interceptor(tree, door.clone()))
        .with(FilesLifecycleServiceServer::with_interceptor(
            lifecycle, door,
        ));
    Ok(server.serve(listener, shutdown).await?)
}
