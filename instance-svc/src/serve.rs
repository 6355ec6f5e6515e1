//! Serving the instance service.

use std::time::Duration;

use couch::Clusters;
use futures::future::BoxFuture;
use hamlet_pages::Texts;
use hamlet_proto::{
    google::longrunning::operations_server::OperationsServer,
    hamlet::instance::v1::{
        directory_service_server::DirectoryServiceServer,
        feature_service_server::FeatureServiceServer,
        identity_service_server::IdentityServiceServer,
        instance_service_server::InstanceServiceServer,
        operation_service_server::OperationServiceServer, owner_service_server::OwnerServiceServer,
        tenant_service_server::TenantServiceServer,
    },
};
use identity::{allowance::Allowance, second_factor::WrongCodes, tries::Tries};
use service_kit::{
    caller::Authenticate,
    contexts::Contexts,
    health::DATABASE,
    secret::Keyring,
    server::{GrpcServer, Listener},
};
use tokio_util::sync::CancellationToken;

use crate::{
    actions::{
        adopt::{Adoption, Progress},
        derive::Deriver,
        returned::Returned,
        share_tries::SharedTries,
    },
    api::{
        Parts, Shared, directory::Directory, features::Features, identity::Identities,
        instances::Instances, json, operations::OperationsApi, owner::Owners,
        strangers::GRPC_FOR_STRANGERS,
    },
    config::Config,
    database_health,
    error::Error,
    host_changes::HostChanges,
    mail::{Mailer, WrongSettings},
    operations::{
        Engine, Kinds, Peers, Sealing, Settings,
        backend::{BackendError, Backends},
        change::Changing,
        create::Creation,
        destroy::Destruction,
        orphans::{OrphanRemoval, Orphans},
        relay::{self, Relay},
        taking::CreatedInstances,
    },
    store::{OperationLog, Store},
};

/// The default pause between the two checks for orphans.
pub const ORPHAN_GRACE: Duration = Duration::from_secs(10);

/// How many times rarer than for operations a replica looks for what nodes of the database bring back.
const RETURNED_EVERY: u32 = 5;

/// Why serving ended with an error.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The database is not usable.
    #[error("the database cannot be used: {0}")]
    Database(#[from] couch::Error),
    /// The content of the database is not usable.
    #[error("what is in the database cannot be used: {0}")]
    Content(#[from] Error),
    /// The settings of the admin backend are not usable.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// The settings of mail are not usable.
    #[error(transparent)]
    Mail(#[from] WrongSettings),
    /// The texts of the pages are not usable.
    #[error("the texts of the pages are not well-formed")]
    Texts(#[from] serde_json::Error),
    /// The server failed.
    #[error("the instance service failed")]
    Server(#[from] service_kit::server::Error),
}

/// What the instance service needs to run.
#[derive(Debug)]
pub struct Dependencies {
    /// The database servers.
    pub couch: Clusters,
    /// The other services.
    pub peers: Peers,
    /// The contexts of the configuration.
    pub contexts: Contexts,
    /// The keys with which services authenticate each other.
    pub cluster_key: Keyring,
    /// The settings of the engine of operations.
    pub engine: Settings,
    /// The pause between the two checks for orphans.
    pub orphan_grace: Duration,
}

/// Serves until `shutdown`, then gives up the operations that it drives.
///
/// # Errors
/// When the database is not usable or the listener fails.
pub fn serve(
    config: Config,
    dependencies: Dependencies,
    listener: impl Into<Listener>,
    shutdown: CancellationToken,
) -> BoxFuture<'static, Result<(), ServeError>> {
    serve_on(config, dependencies, listener.into(), shutdown)
}

/// Boxed and not generic, so that the service is compiled once, in this crate: an async function would be
/// compiled again in each program and test that awaits it.
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
    let mailer = Mailer::new(&dependencies.contexts, shutdown.clone())?;
    tokio::select! {
        up = database_kit::wait_until_up(&dependencies.couch) => up?,
        () = shutdown.cancelled() => return Ok(()),
    }
    let backends = Backends::of_settings(&config, &dependencies.contexts)?;
    let store = Store::new(dependencies.couch)?;
    store.prepare().await?;
    let clock = dependencies.engine.clock.clone();
    let look_every = dependencies.engine.scan_every;
    let returned = Returned::new(store.clone());
    let sealing = Sealing::new(dependencies.cluster_key.clone());
    let created = CreatedInstances::default();
    let relays_created = created.clone();
    let relayed = relay::Requests::default();
    let orphans = Orphans {
        store: store.clone(),
        peers: dependencies.peers.clone(),
        grace: dependencies.orphan_grace,
    };
    let kinds = Kinds {
        create: Creation {
            store: store.clone(),
            peers: dependencies.peers.clone(),
            config: config.clone(),
            sealing: sealing.clone(),
            created: created.clone(),
            clock: clock.clone(),
        },
        destroy: Destruction {
            store: store.clone(),
            peers: dependencies.peers.clone(),
            created: created.clone(),
            backends: backends.clone(),
            clock: clock.clone(),
        },
        change: Changing {
            store: store.clone(),
            sealing: sealing.clone(),
            config: config.clone(),
            created,
            clock: clock.clone(),
        },
        orphans: OrphanRemoval(orphans.clone()),
        relay: Relay {
            store: store.clone(),
            created: relays_created,
            requests: relayed.clone(),
        },
    };
    let settings = Settings {
        turns: config.creations_at_once,
        keep: config.operations_kept(),
        ..dependencies.engine
    };
    let host_changes = HostChanges::default();
    let following = host_changes.clone().follow(store.clone(), shutdown.clone());
    let log = OperationLog::new(store.clusters())?;
    let couch = store.clusters().global().clone();
    let engine = Engine::new(log, kinds, settings, shutdown.clone());
    let adopted = Progress::default();
    let adoption = Adoption::new(
        store.clone(),
        engine.clone(),
        clock.clone(),
        adopted.clone(),
        config.public_port,
        look_every,
    );
    let shared = Shared::new(Parts {
        store,
        engine: engine.clone(),
        config,
        contexts: dependencies.contexts,
        key: dependencies.cluster_key.clone(),
        sealing,
        deriver: Deriver::new(),
        clock,
        peers: dependencies.peers,
        orphans,
        adopted,
        host_changes,
        texts: Texts::new()?,
        tries: Tries::default(),
        shared_tries: SharedTries::default(),
        wrong_codes: WrongCodes::default(),
        mailer: mailer.clone(),
        registrations: Allowance::default(),
        backends,
        relayed,
        shutdown: shutdown.clone(),
    });
    let door = Authenticate::new(dependencies.cluster_key);
    let directory = Directory(shared.clone());
    let operations = OperationsApi(shared.clone());
    let server = GrpcServer::new()?;
    let watching = database_health::follow(couch, server.told(DATABASE), shutdown.clone());
    let server = server
        .for_strangers(&GRPC_FOR_STRANGERS)
        .with_http(json::routes(shared.clone()), door.clone())
        .with(FeatureServiceServer::with_interceptor(
            Features(shared.clone()),
            door.clone(),
        ))
        .with(IdentityServiceServer::with_interceptor(
            Identities(shared.clone()),
            door.clone(),
        ))
        .with(InstanceServiceServer::with_interceptor(
            Instances(shared.clone()),
            door.clone(),
        ))
        .with(OwnerServiceServer::with_interceptor(
            Owners(shared),
            door.clone(),
        ))
        .with(OperationsServer::with_interceptor(
            operations.clone(),
            door.clone(),
        ))
        .with(OperationServiceServer::with_interceptor(
            operations,
            door.clone(),
        ))
        .with(DirectoryServiceServer::with_interceptor(
            directory.clone(),
            door.clone(),
        ))
        .with(TenantServiceServer::with_interceptor(directory, door));
    let (served, (), (), (), (), (), ()) = tokio::join!(
        server.serve(listener, shutdown.clone()),
        engine.run(),
        following,
        watching,
        adoption.follow(shutdown.clone()),
        returned.follow(look_every * RETURNED_EVERY, shutdown),
        mailer.stopped()
    );
    Ok(served?)
}
