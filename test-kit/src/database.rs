//! Test databases: the embedded one in the test's own process, or the CouchDB that the environment names.
//!
//! `HAMLET_TEST_COUCHDB_URL` names a single server, `HAMLET_TEST_COUCHDB_CLUSTER` the nodes of a cluster, separated
//! by commas; each is `http://user:password@host:port`.

use std::{fs::File, net::SocketAddr, time::Duration};

use couch::{AllDocs, Couch, CouchConfig, Document};
use embedded_couchdb::{Config, faults::Faults};
use futures::TryStreamExt as _;
use serde_json::Value;
use tempfile::TempDir;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::cluster::Cluster;

/// User and password of an embedded database that is started without a configuration.
pub(crate) const USER: &str = "admin";
pub(crate) const PASSWORD: &str = "password";

/// An embedded database on its own port. Dropping this value stops it.
pub struct Embedded {
    address: SocketAddr,
    faults: Faults,
    served: Box<dyn Fn() -> u64 + Send + Sync>,
    stop: CancellationToken,
    serving: JoinHandle<()>,
    folder: Option<TempDir>,
}

impl Embedded {
    /// Starts an empty database. Its folder is in memory where the system supports that: no test simulates a power
    /// failure, and the disk of a shared machine can be extremely slow.
    ///
    /// # Panics
    /// When it cannot be started.
    pub async fn start() -> Self {
        let folder = tempfile::tempdir_in("/dev/shm")
            .or_else(|_| tempfile::tempdir())
            .expect("a folder can be made");
        let config = Config::new(folder.path().join("data"), USER, PASSWORD);
        let mut started = Self::open(config).await;
        started.folder = Some(folder);
        started
    }

    /// Starts a database with this configuration. A configuration without fault rules gets an empty set of rules.
    ///
    /// # Panics
    /// When it cannot be started.
    pub async fn open(mut config: Config) -> Self {
        let faults = config.faults.get_or_insert_default().clone();
        let server = embedded_couchdb::Server::open(config)
            .await
            .expect("the database opens");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let stop = CancellationToken::new();
        Self {
            address,
            faults,
            served: Box::new(server.request_counter()),
            serving: tokio::spawn(server.serve(listener, stop.clone())),
            stop,
            folder: None,
        }
    }

    /// Its URL.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its fault rules: errors that it injects.
    #[must_use]
    pub const fn faults(&self) -> &Faults {
        &self.faults
    }

    /// The number of requests that it has served.
    #[must_use]
    pub fn served(&self) -> u64 {
        (self.served)()
    }

    /// Asks it to stop, and returns at once.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Stops it and waits until another database can open its folder.
    ///
    /// # Panics
    /// When one of its tasks panicked.
    pub async fn close(mut self) {
        self.stop.cancel();
        (&mut self.serving)
            .await
            .expect("the database does not panic");
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl std::fmt::Debug for Embedded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Embedded")
            .field("address", &self.address)
            .field("folder", &self.folder)
            .finish_non_exhaustive()
    }
}

/// The database server that a test works on.
#[derive(Debug)]
pub struct Server {
    urls: Vec<String>,
    embedded: Option<Embedded>,
    cluster: Option<Cluster>,
    /// The fault rules of a real server. They have no effect.
    no_faults: Faults,
    /// Tests take turns on a real server, because they share it.
    _turn: Option<File>,
}

impl Server {
    /// An empty server: the one that the environment names, or an embedded one.
    ///
    /// # Panics
    /// When it cannot be reached or started.
    pub async fn empty() -> Self {
        match named() {
            Some(urls) => Self::emptied(&urls).await,
            None => Self::embedded(Embedded::start().await),
        }
    }

    /// A server that may be shared, for tests whose databases have a unique prefix.
    ///
    /// # Panics
    /// When it cannot be reached or started.
    pub async fn shared() -> Self {
        match variable("HAMLET_TEST_COUCHDB_URL") {
            Some(url) => Self::real(&[url], None),
            None => Self::embedded(Embedded::start().await),
        }
    }

    /// Waits for this test's turn on a real server, and deletes **all its databases**. `urls` names all nodes.
    ///
    /// # Panics
    /// When it cannot be emptied.
    pub async fn emptied(urls: &[String]) -> Self {
        let lock = std::env::temp_dir().join("hamlet-tests-couchdb.lock");
        let turn = File::create(lock).expect("the lock can be made");
        let turn = tokio::task::spawn_blocking(move || turn.lock().map(|()| turn))
            .await
            .expect("no panic")
            .expect("the turn comes");
        let server = Self::real(urls, Some(turn));
        let couch = server.couch();
        for name in couch.databases_with_prefix("").await.expect("a list") {
            if !name.starts_with('_') {
                let name = couch::DbName::new(name).expect("a name of a database");
                couch.delete_database(&name).await.expect("it goes");
            }
        }
        server
    }

    fn embedded(embedded: Embedded) -> Self {
        Self {
            urls: vec![format!("http://{USER}:{PASSWORD}@{}", embedded.address)],
            embedded: Some(embedded),
            cluster: None,
            no_faults: Faults::new(),
            _turn: None,
        }
    }

    fn real(urls: &[String], turn: Option<File>) -> Self {
        Self {
            urls: urls
                .iter()
                .map(|url| url.trim_end_matches('/').to_owned())
                .collect(),
            embedded: None,
            cluster: None,
            no_faults: Faults::new(),
            _turn: turn,
        }
    }

    /// A model of a cluster of three nodes.
    #[must_use]
    pub fn modelled(cluster: Cluster) -> Self {
        Self {
            urls: cluster.urls(),
            embedded: None,
            cluster: Some(cluster),
            no_faults: Faults::new(),
            _turn: None,
        }
    }

    /// The modelled cluster, if it is one.
    #[must_use]
    pub const fn cluster(&self) -> Option<&Cluster> {
        self.cluster.as_ref()
    }

    /// The URL of its first node, with user and password.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.urls[0]
    }

    /// The URLs of its nodes, with user and password.
    #[must_use]
    pub fn urls(&self) -> &[String] {
        &self.urls
    }

    /// A client for tests that inspect and clean up. It waits up to a minute for an answer.
    ///
    /// # Panics
    /// When the URL is invalid.
    #[must_use]
    pub fn couch(&self) -> Couch {
        Couch::connect(&patient(self.url())).expect("an address of a database")
    }

    /// Its fault rules. They have no effect on a real server.
    #[must_use]
    pub const fn faults(&self) -> &Faults {
        match &self.embedded {
            Some(embedded) => embedded.faults(),
            None => &self.no_faults,
        }
    }

    /// Whether it is embedded, so that faults can be injected.
    #[must_use]
    pub const fn is_embedded(&self) -> bool {
        self.embedded.is_some()
    }

    /// The number of requests that it has served; `None` for a real server.
    #[must_use]
    pub fn served(&self) -> Option<u64> {
        self.embedded.as_ref().map(Embedded::served)
    }

    /// Asks an embedded server to stop. Returns `false` for a real one, which is shared and not stopped.
    #[must_use]
    pub fn stop(&self) -> bool {
        self.embedded.as_ref().map(Embedded::stop).is_some()
    }
}

/// The servers that the environment names: all nodes of a cluster, or a single node.
#[must_use]
pub fn named() -> Option<Vec<String>> {
    let urls =
        variable("HAMLET_TEST_COUCHDB_CLUSTER").or_else(|| variable("HAMLET_TEST_COUCHDB_URL"))?;
    Some(urls.split(',').map(str::to_owned).collect())
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Client settings with a timeout of a minute, because test machines can be slow.
#[must_use]
pub fn patient(url: &str) -> CouchConfig {
    CouchConfig {
        call_timeout: Duration::from_secs(60),
        race_timeout: Duration::from_secs(60),
        ..CouchConfig::new(url)
    }
}

/// The documents of a database in the order of their ids, without design documents.
///
/// # Panics
/// When they cannot be read.
pub async fn documents(database: &couch::Database) -> Vec<Document<Value>> {
    let mut all: Vec<Document<Value>> = database
        .all_docs_with_bodies(AllDocs::new())
        .try_collect()
        .await
        .expect("the documents can be read");
    all.retain(|document| !document.id.starts_with("_design/"));
    all
}
