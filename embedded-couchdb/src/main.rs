//! `embedded-couchdb --listen ADDR --data DIR`

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use clap::Parser;
use embedded_couchdb::{Config, Error, Server, faults::Faults};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tokio_util::sync::CancellationToken;

/// CouchDB's HTTP API over one SQLite file, for one machine.
///
/// The administrator comes from the environment: HAMLET_COUCHDB_USER, and HAMLET_COUCHDB_PASSWORD or
/// HAMLET_COUCHDB_PASSWORD_FILE.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Address to listen on; port 0 picks a free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:5984")]
    listen: SocketAddr,
    /// Folder for the data; created if it is missing.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Allows misbehaviour on command (`PUT /_hamlet/faults`), for tests.
    #[arg(long, hide = true)]
    faults: bool,
    /// Limits the file to so many pages, for tests of a full disk.
    #[arg(long, hide = true)]
    max_pages: Option<u32>,
}

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env()
                .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info")),
        )
        .with_writer(std::io::stderr)
        .init();
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            #[expect(
                clippy::print_stderr,
                reason = "the one place that tells a person why it does not start"
            )]
            {
                eprintln!("embedded-couchdb: {message}");
            }
            ExitCode::FAILURE
        }
    }
}

fn from_environment(name: &str) -> Result<String, String> {
    if let Ok(value) = std::env::var(name)
        && !value.is_empty()
    {
        return Ok(value);
    }
    let file_variable = format!("{name}_FILE");
    match std::env::var_os(&file_variable) {
        Some(path) => {
            let path = PathBuf::from(path);
            let text = std::fs::read_to_string(&path).map_err(|error| {
                format!("cannot read {} ({file_variable}): {error}", path.display())
            })?;
            let text = text.trim_end_matches(['\r', '\n']);
            if text.is_empty() {
                Err(format!("{} ({file_variable}) is empty", path.display()))
            } else {
                Ok(text.to_owned())
            }
        }
        None => Err(format!("set {name} or {file_variable}")),
    }
}

#[tokio::main]
async fn run(arguments: Arguments) -> Result<(), String> {
    let mut config = Config::new(
        arguments.data,
        from_environment("HAMLET_COUCHDB_USER")?,
        from_environment("HAMLET_COUCHDB_PASSWORD")?,
    );
    config.faults = arguments.faults.then(Faults::new);
    config.max_pages = arguments.max_pages;
    let listener = TcpListener::bind(arguments.listen)
        .await
        .map_err(|source| {
            Error::Listen {
                address: arguments.listen,
                source,
            }
            .to_string()
        })?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    let server = Server::open(config)
        .await
        .map_err(|error| error.to_string())?;

    let shutdown = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate()).map_err(|error| error.to_string())?;
    let stop = shutdown.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        stop.cancel();
    });
    #[expect(
        clippy::print_stdout,
        reason = "the line that says where it serves is the program's output"
    )]
    {
        println!("ready http://{address}");
    }
    server.serve(listener, shutdown).await;
    Ok(())
}
