//! CouchDB's HTTP API over one SQLite file, for one machine.
//!
//! [`Server::open`] takes the data folder and finds whatever is wrong with it; [`Server::serve`]
//! answers requests on a listener until it is told to stop. A write is on disk when its answer goes
//! out.

use std::{net::SocketAddr, path::PathBuf};

use secret::{Keyring, Secret};

mod changes;
mod erlang;
mod failure;
pub mod faults;
mod http;
mod json;
mod mango;
pub mod program;
#[cfg(test)]
mod robustness;
mod storage;

pub use crate::http::Server;

/// What a server is made with.
#[derive(Clone)]
pub struct Config {
    /// The folder that holds everything; created if it is missing.
    pub data: PathBuf,
    /// Name of the administrator, the only user.
    pub user: String,
    /// The administrator's password. It may change while the server runs.
    pub password: Keyring,
    /// Misbehaviour on command, for tests. None in production.
    pub faults: Option<faults::Faults>,
    /// An upper limit for the file, in pages of 4096 bytes, so that tests can fill the disk.
    pub max_pages: Option<u32>,
}

impl Config {
    /// A configuration without faults and limits.
    pub fn new(
        data: impl Into<PathBuf>,
        user: impl Into<String>,
        password: impl Into<String>,
    ) -> Self {
        Self {
            data: data.into(),
            user: user.into(),
            password: Secret::new(password).into(),
            faults: None,
            max_pages: None,
        }
    }
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config")
            .field("data", &self.data)
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// Why a server cannot start or go on. Each is one line for a person.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder cannot be made or written.
    #[error("cannot use the data folder {}: {source}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Another process holds the folder.
    #[error("the data folder {} is in use by another process", path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// A newer program wrote the file.
    #[error("{} has data format {found}, and this program knows formats up to {known}; use the newer program", path.display())]
    NewerFormat {
        /// The file.
        path: PathBuf,
        /// The format found.
        found: i64,
        /// The newest format known.
        known: i64,
    },
    /// The file cannot be opened as a store.
    #[error("cannot open {}: {source}", path.display())]
    Store {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// The address cannot be used.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// The store could not be prepared.
    #[error("cannot prepare the store: {reason}")]
    Prepare {
        /// What went wrong.
        reason: String,
    },
}

/// Opens a server and serves until `shutdown` is cancelled.
///
/// # Errors
/// Those of [`Server::open`].
pub async fn serve(
    config: Config,
    listener: tokio::net::TcpListener,
    shutdown: tokio_util::sync::CancellationToken,
) -> Result<(), Error> {
    let server = Server::open(config).await?;
    server.serve(listener, shutdown).await;
    Ok(())
}
