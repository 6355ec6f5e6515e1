//! The program: flags, start and health check.

use std::{
    io::{self, Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    path::PathBuf,
    time::Duration,
};

use clap::{Parser, Subcommand};
use secret::{Keyring, Rule, Secret};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tokio_util::sync::CancellationToken;

use crate::{Config, Error, Server, faults::Faults};

/// The time limit of each step of a health check.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(3);

/// CouchDB's HTTP API over one SQLite file, for one machine.
///
/// The administrator comes from the environment: HAMLET_COUCHDB_USER, and HAMLET_COUCHDB_PASSWORD or
/// HAMLET_COUCHDB_PASSWORD_FILE.
#[derive(Debug, Parser)]
#[command(
    name = "embedded-couchdb",
    version,
    subcommand_negates_reqs = true,
    disable_help_subcommand = true
)]
pub struct Flags {
    /// Address to listen on; port 0 picks a free one.
    #[arg(
        long,
        global = true,
        env = "HAMLET_LISTEN",
        value_name = "ADDR",
        default_value = "127.0.0.1:5984",
        value_parser = process_kit::address::parse
    )]
    listen: SocketAddr,
    /// Folder for the data; created if it is missing.
    // Optional in the type only: clap requires it except with a subcommand.
    #[arg(long, env = "HAMLET_DATA", value_name = "DIR", required = true)]
    data: Option<PathBuf>,
    /// How long the password is still accepted after its file was changed, as in 30s or 10m.
    #[arg(
        long,
        env = "HAMLET_CREDENTIAL_OVERLAP",
        value_name = "TIME",
        default_value = "10m",
        value_parser = process_kit::duration::or_seconds
    )]
    credential_overlap: Duration,
    /// Enables fault injection (`PUT /_hamlet/faults`), for tests.
    #[arg(long, hide = true)]
    faults: bool,
    /// Limits the size of the file, in pages, for tests of a full disk.
    #[arg(long, hide = true)]
    max_pages: Option<u32>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Asks the running server at the same address whether it serves; exits with 0 if it does, with 1 if not.
    Health,
}

/// Serves until Ctrl-C or SIGTERM, or checks the health of a running server.
///
/// # Errors
/// A message of one line.
pub async fn run(flags: Flags) -> Result<(), String> {
    match (flags.command, flags.data) {
        (Some(Command::Health), _) => {
            let address = local_address(flags.listen);
            tokio::task::spawn_blocking(move || check_health(address))
                .await
                .map_err(|error| error.to_string())?
                .map_err(|error| format!("{address} does not serve: {error}"))?;
            say(&format!("{address} serves"));
            Ok(())
        }
        (None, Some(data)) => {
            let mut config = Config::new(data, from_environment("HAMLET_COUCHDB_USER")?, "");
            config.password = password(flags.credential_overlap)?;
            config.faults = flags.faults.then(Faults::new);
            config.max_pages = flags.max_pages;
            config.javascript = std::env::current_exe().ok();
            serve(config, flags.listen).await
        }
        (None, None) => Err("data: is not set; name a folder".to_owned()),
    }
}

async fn serve(config: Config, listen: SocketAddr) -> Result<(), String> {
    let listener = TcpListener::bind(listen).await.map_err(|source| {
        Error::Listen {
            address: listen,
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
    say(&format!("ready http://{address}"));
    server.serve(listener, shutdown).await;
    Ok(())
}

/// The value of a variable, or the content of the file that the variable with the suffix `_FILE` names.
fn from_environment(name: &str) -> Result<String, String> {
    if let Some(value) = variable(name) {
        return Ok(value);
    }
    let (file_variable, path) = file_of(name)?;
    Secret::from_file(&path)
        .map(|text| text.expose().to_owned())
        .map_err(|error| format!("cannot read {} ({file_variable}): {error}", path.display()))
}

/// The administrator's password. A password file is read again when it changes.
fn password(overlap: Duration) -> Result<Keyring, String> {
    const NAME: &str = "HAMLET_COUCHDB_PASSWORD";
    if let Some(value) = variable(NAME) {
        return Ok(Secret::new(value).into());
    }
    let (file_variable, path) = file_of(NAME)?;
    Keyring::open(&path, overlap, Rule::Line)
        .map_err(|error| format!("cannot read {} ({file_variable}): {error}", path.display()))
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn file_of(name: &str) -> Result<(String, PathBuf), String> {
    let file_variable = format!("{name}_FILE");
    match std::env::var_os(&file_variable).filter(|path| !path.is_empty()) {
        Some(path) => Ok((file_variable, path.into())),
        None => Err(format!("set {name} or {file_variable}")),
    }
}

/// The address at which the local machine reaches a server that listens on `address`.
fn local_address(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        });
    }
    address
}

/// Sends `GET /_up`, which needs no credentials.
fn check_health(address: SocketAddr) -> io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&address, HEALTH_TIMEOUT)?;
    stream.set_read_timeout(Some(HEALTH_TIMEOUT))?;
    stream.set_write_timeout(Some(HEALTH_TIMEOUT))?;
    write!(
        stream,
        "GET /_up HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )?;
    let mut head = [0; b"HTTP/1.1 200".len()];
    stream.read_exact(&mut head)?;
    if &head == b"HTTP/1.1 200" {
        Ok(())
    } else {
        Err(io::Error::other(format!(
            "it answers {:?}",
            String::from_utf8_lossy(&head)
        )))
    }
}

fn say(line: &str) {
    #[expect(clippy::print_stdout, reason = "the output of the program")]
    {
        println!("{line}");
    }
}
