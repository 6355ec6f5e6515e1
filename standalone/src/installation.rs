//! The parts of an installation, started in order and stopped in reverse order.

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use couch::{Clusters, Couch, CouchConfig};
use instance_svc::{Dependencies, Peers};
use process_kit::folder::{self, Folder};
use service_kit::{
    config::Tables,
    contexts::Contexts,
    peer,
    program::{self, listen},
    secret::Keyring,
};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::{
    demo::{self, Demo},
    door,
    folder::{keyring, publish_admin_address},
    settings::Settings,
};

/// The time limit for stopping all parts together.
const STOP: Duration = Duration::from_millis(4_500);

/// Why an installation could not start or stopped running. Each message is one line for a person.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The data folder cannot be used.
    #[error(transparent)]
    Folder(#[from] folder::Error),
    /// An address or a secret is invalid.
    #[error(transparent)]
    Start(#[from] program::StartError),
    /// A listener does not know its own address.
    #[error("a listener does not tell its address: {0}")]
    Address(#[source] io::Error),
    /// The embedded database failed to start.
    #[error(transparent)]
    Database(#[from] embedded_couchdb::Error),
    /// The database cannot be reached.
    #[error("{}", of_couch(.0))]
    Couch(#[from] couch::Error),
    /// A service cannot be reached.
    #[error(transparent)]
    Peer(#[from] peer::Error),
    /// The client of the admin door cannot be created.
    #[error(transparent)]
    Door(#[from] door::Error),
    /// A part ended without a shutdown.
    #[error("the {part} stopped: {why}")]
    Part {
        /// The part.
        part: &'static str,
        /// The cause.
        why: String,
    },
    /// The demo failed.
    #[error(transparent)]
    Demo(#[from] demo::Error),
}

/// The message of an error of the database: it begins with the setting that is to blame.
fn of_couch(error: &couch::Error) -> String {
    match error {
        couch::Error::Config { .. } | couch::Error::Cluster { .. } => error.to_string(),
        error => format!("couchdb: {error}"),
    }
}

/// The running parts, each in its own task.
struct Parts(JoinSet<(&'static str, Result<(), String>)>);

impl Parts {
    fn none() -> Self {
        Self(JoinSet::new())
    }

    fn start<E: std::fmt::Display>(
        &mut self,
        part: &'static str,
        serving: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        self.0.spawn(async move {
            let ended = serving.await.map_err(|error| error.to_string());
            (part, ended)
        });
    }

    /// Waits until a part ends without a shutdown. Never completes when there are no parts.
    async fn first_end(&mut self) -> Error {
        let (part, why) = match self.0.join_next().await {
            Some(Ok((part, Err(why)))) => (part, why),
            Some(Ok((part, Ok(())))) => (part, "nobody asked it to".to_owned()),
            Some(Err(error)) => ("installation", error.to_string()),
            None => std::future::pending().await,
        };
        Error::Part { part, why }
    }

    /// Waits until all parts have ended.
    async fn all_end(&mut self) {
        while let Some(ended) = self.0.join_next().await {
            match ended {
                Ok((_, Ok(()))) => {}
                Ok((part, Err(why))) => tracing::warn!(part, why, "ended with an error"),
                Err(error) => tracing::error!(%error, "a part panicked"),
            }
        }
    }
}

/// Runs an installation until it receives a shutdown signal.
pub(crate) async fn run(
    settings: Settings,
    tables: Tables,
    asked: CancellationToken,
) -> Result<(), Error> {
    // Listens on both doors first, so that a used port is reported before any data is created.
    let public = listen("listen", settings.listen).await?;
    let admin = listen("admin-listen", settings.admin_listen).await?;
    let mut installation = Installation {
        folder: Folder::take(&settings.data)?,
        gateway: Parts::none(),
        stop_gateway: CancellationToken::new(),
        services: Parts::none(),
        stop_services: CancellationToken::new(),
        database: Parts::none(),
        stop_database: CancellationToken::new(),
    };
    let outcome = tokio::select! {
        () = asked.cancelled() => Ok(()),
        error = installation.serve(&settings, tables, public, admin) => error,
    };
    installation.stop().await;
    outcome
}

/// A running installation: the database, and the services that use it.
struct Installation {
    folder: Folder,
    gateway: Parts,
    stop_gateway: CancellationToken,
    services: Parts,
    stop_services: CancellationToken,
    database: Parts,
    stop_database: CancellationToken,
}

impl Installation {
    /// Starts all parts, announces readiness, and runs until a part ends.
    async fn serve(
        &mut self,
        settings: &Settings,
        tables: Tables,
        public: TcpListener,
        admin: TcpListener,
    ) -> Result<(), Error> {
        let overlap = settings.overlap.get();
        let credential = keyring(&self.folder, "admin-credential", overlap)?;
        let cluster_key = keyring(&self.folder, "cluster-key", overlap)?;
        let (public_address, admin_address) = addresses(&public, &admin)?;
        let couch = database_kit::connect_members(
            self.start_database(settings).await?,
            &settings.couch,
            &tables.couch_clusters,
            overlap,
        )?;
        let apps = example_apps(settings.app_folder.as_deref());
        let services = self
            .start_services(settings, tables.contexts, couch, &cluster_key, apps.clone())
            .await?;
        self.gateway.start(
            "gateway",
            gateway::serve(
                services,
                public,
                admin,
                gateway::Secrets {
                    cluster_key,
                    admin_credential: credential.clone(),
                    tls: None,
                },
                self.stop_gateway.clone(),
            ),
        );
        let has_certificates = settings.exposure.admin_tls_certificates.is_some();
        let door = door::open(admin_address, &credential, has_certificates)?;
        tokio::select! {
            () = door::wait_until_open(&door) => {}
            error = self.gateway.first_end() => return Err(error),
            error = self.services.first_end() => return Err(error),
            error = self.database.first_end() => return Err(error),
        }
        let _published = publish_admin_address(&self.folder, admin_address)?;
        #[expect(clippy::print_stdout, reason = "scripts wait for this line")]
        {
            println!("ready public={public_address} admin={admin_address}");
        }
        if settings.demo {
            let demo = Demo {
                public: public_address,
                door: &door,
                apps: apps.as_deref(),
                data: &settings.data,
                instances: &settings.instances,
            };
            tokio::select! {
                shown = demo.run() => shown?,
                error = self.gateway.first_end() => return Err(error),
                error = self.services.first_end() => return Err(error),
            }
        }
        tokio::select! {
            error = self.gateway.first_end() => Err(error),
            error = self.services.first_end() => Err(error),
            error = self.database.first_end() => Err(error),
        }
    }

    /// Starts the embedded database, or connects to the configured CouchDB.
    async fn start_database(&mut self, settings: &Settings) -> Result<Couch, Error> {
        if let Some(url) = &settings.couchdb {
            return Ok(Couch::connect(
                &settings.couch.config(url, settings.overlap.get())?,
            )?);
        }
        const USER: &str = "hamlet";
        let password = keyring(&self.folder, "couchdb-password", settings.overlap.get())?;
        let mut server = embedded_couchdb::Config::new(self.folder.join("couchdb"), USER, "");
        server.password = password.clone();
        server.javascript = std::env::current_exe().ok();
        let server = embedded_couchdb::Server::open(server).await?;
        let (listener, address) = listen_inside().await?;
        let stop = self.stop_database.clone();
        self.database.start("embedded database", async move {
            server.serve(listener, stop).await;
            Ok::<_, Error>(())
        });
        let mut config = CouchConfig::new(format!("http://{address}"));
        config.user = Some(USER.to_owned());
        config.password = Some(password);
        Ok(Couch::connect(&config)?)
    }

    /// Starts the three services. Returns the gateway's settings, which contain their addresses.
    async fn start_services(
        &mut self,
        settings: &Settings,
        contexts: Contexts,
        couch: Clusters,
        cluster_key: &Keyring,
        app_folder: Option<PathBuf>,
    ) -> Result<gateway::Config, Error> {
        let (files_listener, files) = listen_inside().await?;
        let (apps_listener, apps) = listen_inside().await?;
        let (instances_listener, instances) = listen_inside().await?;
        let [files, apps, instances] =
            [files, apps, instances].map(|address| format!("http://{address}"));
        let contents = self.folder.join("contents");
        self.services.start(
            "files service",
            files_svc::serve(
                files_svc::Config {
                    contents: contents.clone(),
                },
                files_svc::Dependencies {
                    couch: couch.clone(),
                    contexts: contexts.clone(),
                    cluster_key: cluster_key.clone(),
                },
                files_listener,
                self.stop_services.clone(),
            ),
        );
        self.services.start(
            "apps service",
            apps_svc::serve(
                apps_svc::Config {
                    contents,
                    sources: settings.sources.clone(),
                },
                apps_svc::Dependencies {
                    couch: couch.clone(),
                    contexts: contexts.clone(),
                    cluster_key: cluster_key.clone(),
                    instances: peer::connect(&instances, cluster_key)?,
                    app_folder,
                },
                apps_listener,
                self.stop_services.clone(),
            ),
        );
        let mut config = settings.instances.clone();
        // A free port that was picked is for tries and tests, whose domains may have any.
        if config.public_port.is_none() && settings.listen.port() != 0 {
            config.public_port = Some(settings.listen.port());
        }
        let mut engine = instance_svc::Settings::new(self.folder.replica()?);
        // The lock on the folder proves that the previous process with this replica name has ended.
        engine.alone = true;
        self.services.start(
            "instance service",
            instance_svc::serve(
                config,
                Dependencies {
                    couch,
                    peers: Peers::new(
                        peer::connect(&files, cluster_key)?,
                        peer::connect(&apps, cluster_key)?,
                    ),
                    contexts,
                    cluster_key: cluster_key.clone(),
                    engine,
                    orphan_grace: instance_svc::ORPHAN_GRACE,
                },
                instances_listener,
                self.stop_services.clone(),
            ),
        );
        Ok(gateway::Config {
            listen: settings.listen,
            admin_listen: settings.admin_listen,
            instance_service: instances,
            files_service: files,
            apps_service: apps,
            exposure: settings.exposure.clone(),
            limits: settings.limits.clone(),
            ..gateway::Config::default()
        })
    }

    /// Stops the gateway, then the services, so that they can release the leases of their operations; then the database.
    async fn stop(mut self) {
        let stopped = async {
            // The gateway first: what it still answers needs the services.
            self.stop_gateway.cancel();
            self.gateway.all_end().await;
            self.stop_services.cancel();
            self.services.all_end().await;
            self.stop_database.cancel();
            self.database.all_end().await;
        };
        if tokio::time::timeout(STOP, stopped).await.is_err() {
            tracing::warn!("some parts did not stop in time");
        }
    }
}

fn addresses(public: &TcpListener, admin: &TcpListener) -> Result<(SocketAddr, SocketAddr), Error> {
    let of = |listener: &TcpListener| listener.local_addr().map_err(Error::Address);
    Ok((of(public)?, of(admin)?))
}

/// A listener for a part that only other parts call.
async fn listen_inside() -> Result<(TcpListener, SocketAddr), Error> {
    let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
    let listener = listen("inside", anywhere).await?;
    let address = listener.local_addr().map_err(Error::Address)?;
    Ok((listener, address))
}

/// The folder of example apps: the configured one, or `examples/apps` in the working directory or beside the program.
fn example_apps(set: Option<&Path>) -> Option<PathBuf> {
    const EXAMPLES: &str = "examples/apps";
    if let Some(set) = set {
        // The source of an app is a path from the root. Where none can be made, the source is refused with a reason.
        return Some(std::path::absolute(set).unwrap_or_else(|_| set.to_owned()));
    }
    let here = std::env::current_dir().ok();
    let program = std::env::current_exe().ok();
    here.iter()
        .flat_map(|path| path.ancestors().take(1))
        .chain(program.iter().flat_map(|path| path.ancestors()))
        .map(|folder| folder.join(EXAMPLES))
        .find(|folder| folder.is_dir())
}
