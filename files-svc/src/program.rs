//! The files service as a program: its flags, and what becomes of them.

use std::{
    error::Error as StdError,
    ffi::OsString,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Parser;
use couch::{Couch, CouchConfig};
use service_kit::{
    config::{self, FileArg},
    contexts::Contexts,
    secret::Secret,
    shutdown, telemetry,
};
use tokio::net::TcpListener;

use crate::{Config, Given, serve};

/// The files service of Hamlet: the tree of an instance.
#[derive(Debug, Parser)]
#[command(name = "files-svc", version)]
pub struct Flags {
    #[command(flatten)]
    file: FileArg,
    #[command(flatten)]
    log: telemetry::LogConfig,
    /// Where the service listens.
    #[arg(
        long,
        env = "HAMLET_LISTEN",
        default_value = "127.0.0.1:7002",
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
    /// The user of CouchDB; wins over the one in the URL.
    #[arg(long, env = "HAMLET_COUCHDB_USER", value_name = "NAME")]
    couchdb_user: Option<String>,
    /// A file with the password of CouchDB; wins over the one in the URL.
    #[arg(long, env = "HAMLET_COUCHDB_PASSWORD_FILE", value_name = "FILE")]
    couchdb_password_file: Option<PathBuf>,
    /// A file with the key that services know each other by.
    #[arg(long, env = "HAMLET_CLUSTER_KEY_FILE", value_name = "FILE")]
    cluster_key_file: PathBuf,
    #[command(flatten)]
    files: Config,
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
    let listener = TcpListener::bind(flags.listen)
        .await
        .map_err(|error| format!("listen: {} cannot be used: {error}", flags.listen))?;
    tracing::info!(address = %listener.local_addr()?, "files service listens");
    let given = Given {
        couch,
        contexts,
        cluster_key,
    };
    Ok(serve(flags.files, given, listener, shutdown::on_signal()?).await?)
}

fn read(flag: &str, path: &Path) -> Result<Secret, String> {
    Secret::from_file(path)
        .map_err(|error| format!("{flag}: {} cannot be read: {error}", path.display()))
}
