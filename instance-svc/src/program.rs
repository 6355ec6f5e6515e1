//! The instance service as a program: its flags, and what becomes of them.

use std::{
    error::Error as StdError,
    ffi::OsString,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Parser;
use couch::{Couch, CouchConfig, DocId};
use service_kit::{
    config::{self, FileArg},
    contexts::Contexts,
    peer,
    secret::Secret,
    shutdown,
    telemetry::{self, LogConfig},
};
use tokio::net::TcpListener;

use crate::{
    config::Config,
    operations::{Peers, Settings},
    serve::{Given, serve},
};

/// The instance service of Hamlet: the life of an instance.
#[derive(Debug, Parser)]
#[command(name = "instance-svc", version)]
pub struct Flags {
    #[command(flatten)]
    file: FileArg,
    #[command(flatten)]
    log: LogConfig,
    /// Where the service listens.
    #[arg(
        long,
        env = "HAMLET_LISTEN",
        default_value = "127.0.0.1:7001",
        value_name = "ADDR"
    )]
    listen: SocketAddr,
    /// The root URL of CouchDB.
    #[arg(
        long,
        env = "HAMLET_COUCHDB",
        default_value = "http://127.0.0.1:5984",
        hide_env_values = true,
        value_name = "URL"
    )]
    couchdb: Secret,
    /// The name of CouchDB's administrator; wins over the one in the URL.
    #[arg(long, env = "HAMLET_COUCHDB_USER", value_name = "NAME")]
    couchdb_user: Option<String>,
    /// A file with the password of CouchDB's administrator; wins over the one in the URL.
    #[arg(long, env = "HAMLET_COUCHDB_PASSWORD_FILE", value_name = "FILE")]
    couchdb_password_file: Option<PathBuf>,
    /// A file with the key that services know each other by.
    #[arg(long, env = "HAMLET_CLUSTER_KEY_FILE", value_name = "FILE")]
    cluster_key_file: PathBuf,
    /// Where the files service is.
    #[arg(
        long,
        env = "HAMLET_FILES_SERVICE",
        default_value = "http://127.0.0.1:7002",
        value_name = "URL"
    )]
    files_service: String,
    /// Where the apps service is.
    #[arg(
        long,
        env = "HAMLET_APPS_SERVICE",
        default_value = "http://127.0.0.1:7003",
        value_name = "URL"
    )]
    apps_service: String,
    #[command(flatten)]
    instances: Config,
}

/// Runs the program until Ctrl-C or SIGTERM.
pub async fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let loaded = match config::load::<Flags>(args) {
        Ok(loaded) => loaded,
        Err(error) => error.exit(),
    };
    match run_with(loaded.args, loaded.contexts).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            #[expect(clippy::print_stderr, reason = "the one line a person gets")]
            {
                eprintln!("error: {error}");
            }
            ExitCode::FAILURE
        }
    }
}

async fn run_with(flags: Flags, contexts: Contexts) -> Result<(), Box<dyn StdError>> {
    telemetry::init(&flags.log)?;
    let cluster_key = read("cluster-key-file", &flags.cluster_key_file)?;
    let mut couch = CouchConfig::new(flags.couchdb.expose());
    couch.user = flags.couchdb_user;
    if let Some(path) = &flags.couchdb_password_file {
        couch.password = Some(read("couchdb-password-file", path)?.expose().to_owned());
    }
    let couch = Couch::connect(&couch)?;
    let peers = Peers::new(
        peer::connect(&flags.files_service, &cluster_key)?,
        peer::connect(&flags.apps_service, &cluster_key)?,
    );
    let listener = TcpListener::bind(flags.listen)
        .await
        .map_err(|error| format!("listen: {} cannot be used: {error}", flags.listen))?;
    tracing::info!(address = %listener.local_addr()?, "instance service listens");
    let given = Given {
        couch,
        peers,
        contexts,
        cluster_key,
        // Nothing proves that a process of the same name is dead, so every start has a name of its own.
        engine: Settings::new(DocId::ascending().into_string()),
    };
    Ok(serve(flags.instances, given, listener, shutdown::on_signal()?).await?)
}

fn read(flag: &str, path: &Path) -> Result<Secret, String> {
    Secret::from_file(path)
        .map_err(|error| format!("{flag}: {} cannot be read: {error}", path.display()))
}
