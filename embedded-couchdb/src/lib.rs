//! CouchDB's HTTP API over one SQLite file, for one machine.
//!
//! [`Server::open`] locks and checks the data folder. [`Server::serve`] answers requests on a listener until
//! shutdown. A write is on disk before its response is sent.

use std::{net::SocketAddr, path::PathBuf};

use secret::{Keyring, Secret};

mod api_error;
mod changes;
mod erlang;
pub mod faults;
#[doc(hidden)]
pub mod fuzzing;
mod http;
pub mod javascript;
mod json;
mod mango;
mod numbers;
pub mod program;
mod rendering;
#[cfg(test)]
mod robustness;
mod storage;

pub use crate::http::Server;

/// The configuration of a server.
#[derive(Clone)]
pub struct Config {
    /// The data folder; created if it is missing.
    pub data: PathBuf,
    /// The name of the administrator, who is the only user.
    pub user: String,
    /// The administrator's password. It may change while the server runs.
    pub password: Keyring,
    /// Injected faults, for tests. `None` in production.
    pub faults: Option<faults::Faults>,
    /// The largest size of the file, in pages of 4096 bytes, so that tests can simulate a full disk.
    pub max_pages: Option<u32>,
    /// The file of a program that calls [`javascript::run_as_child`] before anything else. Without one, functions of
    /// design documents are not run: views, filters and updates are answered with 501, and a database with a
    /// validation function takes no writes.
    pub javascript: Option<PathBuf>,
}

impl Config {
    /// A configuration without faults and without a size limit.
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
            javascript: None,
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

/// Why a server cannot start. Each message is one line.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder cannot be created or written.
    #[error("cannot use the data folder {}: {source}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// Another process has locked the folder.
    #[error("the data folder {} is in use by another process", path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// A newer version of the program wrote the file.
    #[error("{} has data format {found}, and this program knows formats up to {known}; use the newer program", path.display())]
    NewerFormat {
        /// The file.
        path: PathBuf,
        /// The format of the file.
        found: i64,
        /// The newest format that this program reads.
        known: i64,
    },
    /// SQLite cannot open the file.
    #[error("cannot open {}: {source}", path.display())]
    Store {
        /// The file.
        path: PathBuf,
        /// The error of SQLite.
        source: rusqlite::Error,
    },
    /// The program cannot listen on the address.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// The first write to the store failed.
    #[error("cannot prepare the store: {reason}")]
    Prepare {
        /// The cause.
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
