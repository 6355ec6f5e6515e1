//! An installation of separate processes, as in production: a database, services and gateways, one or more of each,
//! each with its own address.

use std::{
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::atomic::{AtomicU8, Ordering},
    time::Duration,
};

use tempfile::TempDir;
use test_kit::{eventually::eventually_blocking_within, eventually_blocking};

use crate::{cli::Cli, programs::program};

/// The kinds of processes of an installation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The embedded database as a separate program. There is only one.
    Database,
    /// The files service.
    Files,
    /// The apps service.
    Apps,
    /// The instance service.
    Instances,
    /// The gateway.
    Gateway,
}

impl Part {
    /// All parts, in the order in which they are started.
    pub const ALL: [Self; 5] = [
        Self::Database,
        Self::Files,
        Self::Apps,
        Self::Instances,
        Self::Gateway,
    ];

    /// The name of its program.
    #[must_use]
    pub const fn program(self) -> &'static str {
        match self {
            Self::Database => "embedded-couchdb",
            Self::Files => "files-svc",
            Self::Apps => "apps-svc",
            Self::Instances => "instance-svc",
            Self::Gateway => "gateway",
        }
    }

    const fn port(self) -> u16 {
        match self {
            Self::Database => 5984,
            Self::Instances => 7001,
            Self::Files => 7002,
            Self::Apps => 7003,
            Self::Gateway => 6060,
        }
    }
}

/// The port of the public door. The admin door uses the gateway's usual port.
const PUBLIC_PORT: u16 = 8080;
/// The port of metrics.
const METRICS_PORT: u16 = 9100;

/// An installation. Dropping this value kills its processes.
pub struct Cluster {
    folder: TempDir,
    replicas: u8,
    network: u8,
    flags: Box<dyn Fn(Part) -> Vec<String> + Send + Sync>,
    running: Vec<(Part, u8, Child)>,
    scheme: &'static str,
    /// A CouchDB to use instead of a database of its own: its URL with user and password.
    couchdb: Option<String>,
}

impl Cluster {
    /// An installation with one process of each part. None is started.
    ///
    /// # Panics
    /// When the files with its secrets cannot be written.
    #[must_use]
    pub fn new() -> Self {
        // Each cluster has its own network of loopback addresses, so all ports are free and stay free.
        static NETWORKS: AtomicU8 = AtomicU8::new(1);
        let cluster = Self {
            folder: tempfile::tempdir().expect("a folder can be made"),
            replicas: 1,
            network: NETWORKS.fetch_add(1, Ordering::Relaxed),
            flags: Box::new(|_| Vec::new()),
            running: Vec::new(),
            scheme: "http",
            couchdb: None,
        };
        for secret in ["cluster-key", "admin-credential", "couchdb-password"] {
            cluster.write(secret, &format!("the first {secret}"));
        }
        cluster
    }

    /// Sets the number of replicas of each part except the database.
    #[must_use]
    pub fn replicas(mut self, replicas: u8) -> Self {
        self.replicas = replicas;
        self
    }

    /// Sets additional flags, depending on the part.
    #[must_use]
    pub fn flags(mut self, flags: impl Fn(Part) -> Vec<String> + Send + Sync + 'static) -> Self {
        self.flags = Box::new(flags);
        self
    }

    /// Makes services call each other over TLS. The certificates have to be set by flags.
    #[must_use]
    pub fn tls(mut self) -> Self {
        self.scheme = "https";
        self
    }

    /// Uses this CouchDB, whose user is `admin`, instead of a database of its own. The URL has user and password.
    ///
    /// # Panics
    /// When the URL has another form.
    #[must_use]
    pub fn on_couchdb(mut self, url: &str) -> Self {
        let credentials = url.strip_prefix("http://admin:");
        let (password, address) = credentials
            .and_then(|rest| rest.split_once('@'))
            .expect("http://admin:PASSWORD@ADDRESS");
        self.write("couchdb-password", password);
        self.couchdb = Some(format!("http://{}", address.trim_end_matches('/')));
        self
    }

    /// Starts every part and waits until all are ready.
    #[must_use]
    pub fn start(mut self) -> Self {
        for part in Part::ALL {
            for replica in self.replicas_of(part) {
                self.start_one(part, replica);
            }
        }
        for part in Part::ALL {
            for replica in self.replicas_of(part) {
                self.wait_for(part, replica);
            }
        }
        self
    }

    /// Starts one process.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start_one(&mut self, part: Part, replica: u8) {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log(part, replica))
            .expect("a log can be written");
        let child = self
            .command(part, replica)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the program can be run");
        self.running.push((part, replica, child));
    }

    /// Waits until a process reports that it is ready.
    pub fn wait_for(&self, part: Part, replica: u8) {
        eventually_blocking(part.program(), || {
            self.health(part, replica).status.success()
        });
    }

    /// `PROGRAM health`, with the flags of the process.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn health(&self, part: Part, replica: u8) -> Output {
        let mut asking = Command::new(program(part.program()));
        asking.arg("health").args(match part {
            // The database takes only its address.
            Part::Database => vec![format!("--listen={}", self.address(part, replica))],
            _ => self.arguments(part, replica),
        });
        asking.output().expect("the program can be run")
    }

    /// Sends a signal, such as `TERM`, to a process.
    ///
    /// # Panics
    /// When the process is not running.
    pub fn signal(&self, part: Part, replica: u8, name: &str) {
        let (_, _, child) = self
            .running
            .iter()
            .find(|(its, number, _)| (*its, *number) == (part, replica))
            .expect("it runs");
        let sent = Command::new("kill")
            .arg(format!("-{name}"))
            .arg(child.id().to_string())
            .status()
            .expect("kill can be run");
        assert!(sent.success());
    }

    /// Sends a signal to a process, and waits until it has ended.
    ///
    /// # Panics
    /// When the process is not running.
    pub fn stop(&mut self, part: Part, replica: u8, signal: &str) {
        self.signal(part, replica, signal);
        let place = self
            .running
            .iter()
            .position(|(its, number, _)| (*its, *number) == (part, replica))
            .expect("it runs");
        let (_, _, mut child) = self.running.swap_remove(place);
        child.wait().expect("it can be waited for");
    }

    /// Writes a file into the installation's folder, atomically.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write(&self, name: &str, text: &str) {
        let unfinished = self.path(&format!("{name}.unfinished"));
        fs::write(&unfinished, text).expect("a file can be written");
        fs::rename(unfinished, self.path(name)).expect("a file can be renamed");
    }

    /// A path in the installation's folder.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The log of a process so far.
    #[must_use]
    pub fn logged(&self, part: Part, replica: u8) -> String {
        fs::read_to_string(self.log(part, replica)).unwrap_or_default()
    }

    /// The address of a process; for a gateway, of its admin door.
    #[must_use]
    pub fn address(&self, part: Part, replica: u8) -> SocketAddr {
        self.at(replica, part.port())
    }

    /// The address of a gateway's public door.
    #[must_use]
    pub fn public(&self, replica: u8) -> SocketAddr {
        self.at(replica, PUBLIC_PORT)
    }

    /// The address of a process's metrics, if they are enabled by a flag.
    #[must_use]
    pub fn metrics(&self, part: Part, replica: u8) -> SocketAddr {
        self.at(replica, METRICS_PORT + part.port() % 100)
    }

    /// A command line for the first gateway.
    #[must_use]
    pub fn cli(&self) -> Cli {
        self.cli_at(0)
    }

    /// A command line for one of the gateways.
    #[must_use]
    pub fn cli_at(&self, replica: u8) -> Cli {
        let admin = self.address(Part::Gateway, replica);
        Cli::new(format!("http://{admin}"), self.path("admin-credential"))
    }

    /// The URL of the database, with user and password.
    ///
    /// # Panics
    /// When the password cannot be read.
    #[must_use]
    pub fn database_url(&self) -> String {
        let password =
            fs::read_to_string(self.path("couchdb-password")).expect("the password can be read");
        let password = password.trim().replace(' ', "%20");
        let database = self.database();
        let address = database.strip_prefix("http://").unwrap_or(&database);
        format!("http://admin:{password}@{address}")
    }

    /// Waits until every operation has ended.
    ///
    /// # Panics
    /// When one does not end within `patience`.
    pub fn settle(&self, patience: Duration) {
        eventually_blocking_within(patience, "the end of all operations", || {
            let listed = self.cli().run("operations ls -o json");
            let mut running = listed.json_lines();
            running.retain(|operation| operation["done"] != true);
            if listed.code == 0 && running.is_empty() {
                Ok(())
            } else {
                Err(running)
            }
        });
    }

    /// A command line with its credential in another file.
    #[must_use]
    pub fn cli_with(&self, credential: &Path) -> Cli {
        let admin = self.address(Part::Gateway, 0);
        Cli::new(format!("http://{admin}"), credential.to_owned())
    }

    fn replicas_of(&self, part: Part) -> std::ops::Range<u8> {
        0..match part {
            Part::Database => u8::from(self.couchdb.is_none()),
            Part::Files | Part::Apps | Part::Instances | Part::Gateway => self.replicas,
        }
    }

    /// The URL of the database, without user and password.
    #[must_use]
    pub fn database(&self) -> String {
        let own = || format!("http://{}", self.address(Part::Database, 0));
        self.couchdb.clone().unwrap_or_else(own)
    }

    fn at(&self, replica: u8, port: u16) -> SocketAddr {
        SocketAddr::from((ip(self.network, 1 + replica), port))
    }

    fn log(&self, part: Part, replica: u8) -> PathBuf {
        self.path(&format!("{}-{replica}.log", part.program()))
    }

    fn command(&self, part: Part, replica: u8) -> Command {
        let mut command = Command::new(program(part.program()));
        command.args(self.arguments(part, replica));
        if part == Part::Database {
            command
                .env("HAMLET_COUCHDB_USER", "admin")
                .env_remove("HAMLET_COUCHDB_PASSWORD")
                .env(
                    "HAMLET_COUCHDB_PASSWORD_FILE",
                    self.path("couchdb-password"),
                );
        }
        command
    }

    fn arguments(&self, part: Part, replica: u8) -> Vec<String> {
        let file = |flag: &str, name: &str| format!("--{flag}={}", self.path(name).display());
        let replicas = |flag: &str, of: Part| {
            let urls: Vec<String> = self
                .replicas_of(of)
                .map(|replica| format!("{}://{}", self.scheme, self.address(of, replica)))
                .collect();
            format!("--{flag}={}", urls.join(","))
        };
        let address = self.address(part, replica);
        let mut arguments = match part {
            Part::Database => vec![format!("--listen={address}"), file("data", "couchdb")],
            Part::Gateway => vec![
                format!("--admin-listen={address}"),
                format!("--listen={}", self.public(replica)),
                file("admin-credential-file", "admin-credential"),
                replicas("instance-service", Part::Instances),
            ],
            Part::Files | Part::Apps | Part::Instances => vec![
                format!("--listen={address}"),
                format!("--couchdb={}", self.database()),
                "--couchdb-user=admin".to_owned(),
                file("couchdb-password-file", "couchdb-password"),
            ],
        };
        if part != Part::Database {
            arguments.push(file("cluster-key-file", "cluster-key"));
        }
        if matches!(part, Part::Files | Part::Apps) {
            arguments.push(file("contents", "contents"));
        }
        if matches!(part, Part::Gateway | Part::Instances) {
            arguments.push(replicas("files-service", Part::Files));
            arguments.push(replicas("apps-service", Part::Apps));
        }
        if part == Part::Apps {
            arguments.push(replicas("instance-service", Part::Instances));
        }
        arguments.extend((self.flags)(part));
        arguments
    }
}

/// A loopback address that belongs to this process. Test processes running in parallel use other networks.
pub(crate) fn ip(network: u8, number: u8) -> Ipv4Addr {
    let process = u8::try_from(std::process::id() % 250).expect("less than 250");
    Ipv4Addr::new(127, 1 + process, network, number)
}

impl Default for Cluster {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster")
            .field("folder", &self.folder.path())
            .field("replicas", &self.replicas)
            .finish_non_exhaustive()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for (_, _, child) in &mut self.running {
            // It may have ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            for part in Part::ALL {
                for replica in self.replicas_of(part) {
                    let log = self.logged(part, replica);
                    let from = log
                        .char_indices()
                        .rev()
                        .nth(4_000)
                        .map_or(0, |(place, _)| place);
                    #[expect(
                        clippy::print_stderr,
                        reason = "the logs help to find the cause of a failure"
                    )]
                    {
                        eprintln!(
                            "--- {} {replica}\n{}",
                            part.program(),
                            log.get(from..).unwrap_or_default()
                        );
                    }
                }
            }
        }
    }
}
