//! The command line of the program `gateway`.

use std::{env, io, path::PathBuf, process::ExitCode};

use clap::Parser;
use service_kit::{
    config::{self, FileArg},
    secret::Secret,
    shutdown,
    telemetry::{self, LogConfig},
};
use tokio::net::TcpListener;

use crate::{Config, Secrets, serve};

/// Finds the instance from the host and forwards.
#[derive(Debug, Parser)]
#[command(name = "gateway", version)]
struct Settings {
    #[command(flatten)]
    file: FileArg,
    #[command(flatten)]
    log: LogConfig,
    #[command(flatten)]
    gateway: Config,
    /// The file that holds the cluster key, by which services know the gateway.
    #[arg(long, env = "HAMLET_CLUSTER_KEY_FILE", value_name = "FILE")]
    cluster_key_file: PathBuf,
    /// The file that holds the admin credential.
    #[arg(long, env = "HAMLET_ADMIN_CREDENTIAL_FILE", value_name = "FILE")]
    admin_credential_file: PathBuf,
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("cannot read the {what} from {}: {source}", path.display())]
    Secret {
        what: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("cannot listen on {address}: {source}")]
    Listen {
        address: std::net::SocketAddr,
        source: io::Error,
    },
    #[error("cannot start: {0}")]
    Runtime(#[from] io::Error),
    #[error("cannot log: {0}")]
    Log(#[from] telemetry::Error),
    #[error(transparent)]
    Serve(#[from] crate::Error),
}

/// Runs the program `gateway`: reads its settings, serves until it is asked to stop.
#[must_use]
pub fn main() -> ExitCode {
    let settings = match config::load::<Settings>(env::args_os()) {
        Ok(loaded) => loaded.args,
        Err(error) => error.exit(),
    };
    match run(settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            #[expect(clippy::print_stderr, reason = "the last word of the program")]
            {
                eprintln!("error: {error}");
            }
            ExitCode::FAILURE
        }
    }
}

fn run(settings: Settings) -> Result<(), Failure> {
    telemetry::init(&settings.log)?;
    let secrets = Secrets {
        cluster_key: secret("cluster key", settings.cluster_key_file)?,
        admin_credential: secret("admin credential", settings.admin_credential_file)?,
    };
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(async {
            let public = bind(settings.gateway.listen).await?;
            let admin = bind(settings.gateway.admin_listen).await?;
            tracing::info!(public = %public.local_addr()?, admin = %admin.local_addr()?, "listening");
            let shutdown = shutdown::on_signal()?;
            Ok(serve(settings.gateway, public, admin, secrets, shutdown).await?)
        })
}

fn secret(what: &'static str, path: PathBuf) -> Result<Secret, Failure> {
    Secret::from_file(&path).map_err(|source| Failure::Secret { what, path, source })
}

async fn bind(address: std::net::SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address)
        .await
        .map_err(|source| Failure::Listen { address, source })
}
