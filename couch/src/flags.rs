//! Settings of a client as command-line flags and environment variables.

use std::path::{Path, PathBuf};
use std::time::Duration;

use secret::{Keyring, Rule, Secret};

use crate::clusters::Member;
use crate::config::CouchConfig;
use crate::error::{Error, Result};

/// The CouchDB of a service and how to use it. To be flattened into the flags of a service.
#[derive(Clone, Debug, clap::Args)]
pub struct CouchFlags {
    /// The root URL of CouchDB. Name and password are in --couchdb-user and --couchdb-password-file; in the URL,
    /// everybody who lists the processes of this machine sees them.
    #[arg(
        long,
        env = "HAMLET_COUCHDB",
        default_value = "http://127.0.0.1:5984",
        hide_env_values = true,
        value_name = "URL"
    )]
    couchdb: Secret,
    #[command(flatten)]
    options: CouchOptions,
}

impl CouchFlags {
    /// The settings of a client. After a change of the password, the previous one is tried for `overlap`.
    ///
    /// # Errors
    /// [`Error::Config`] if the password file cannot be read.
    pub fn config(&self, overlap: Duration) -> Result<CouchConfig> {
        self.options.config(&self.couchdb, overlap)
    }

    /// The options that do not depend on the address.
    #[must_use]
    pub const fn options(&self) -> &CouchOptions {
        &self.options
    }
}

/// How to use a CouchDB, without its address. To be flattened into the flags of a program.
#[derive(Clone, Debug, clap::Args)]
pub struct CouchOptions {
    /// The name of CouchDB's administrator; wins over the one in the URL.
    #[arg(long, env = "HAMLET_COUCHDB_USER", value_name = "NAME")]
    couchdb_user: Option<String>,
    /// A file with the password of CouchDB's administrator; wins over the one in the URL.
    #[arg(long, env = "HAMLET_COUCHDB_PASSWORD_FILE", value_name = "FILE")]
    couchdb_password_file: Option<PathBuf>,
    /// Into how many shards a new database is divided. An instance is small: 1.
    #[arg(
        long,
        env = "HAMLET_COUCHDB_Q",
        default_value_t = 1,
        value_name = "COUNT",
        value_parser = clap::value_parser!(u16).range(1..)
    )]
    couchdb_q: u16,
    /// How many copies of a new database the cluster keeps; by default what CouchDB is configured for.
    #[arg(
        long,
        env = "HAMLET_COUCHDB_N",
        value_name = "COUNT",
        value_parser = clap::value_parser!(u16).range(1..)
    )]
    couchdb_n: Option<u16>,
}

impl CouchOptions {
    /// The settings of a client for the CouchDB at `url`. After a change of the password, the previous one is
    /// tried for `overlap`.
    ///
    /// # Errors
    /// [`Error::Config`] if the password file cannot be read.
    pub fn config(&self, url: &Secret, overlap: Duration) -> Result<CouchConfig> {
        let mut config = CouchConfig::new(url.expose());
        config.user.clone_from(&self.couchdb_user);
        if let Some(path) = &self.couchdb_password_file {
            config.password = Some(keyring("couchdb-password-file", path, overlap)?);
        }
        config.q = self.couchdb_q;
        config.n = self.couchdb_n;
        Ok(config)
    }

    /// A server of the list of clusters. It has its own user and password, because the flags give those of
    /// the global server. After a change of the password, the previous one is tried for `overlap`.
    ///
    /// # Errors
    /// [`Error::Config`] if the password file cannot be read.
    pub fn member(
        &self,
        url: &Secret,
        user: Option<&str>,
        password_file: Option<&Path>,
        open: bool,
        overlap: Duration,
    ) -> Result<Member> {
        let mut config = CouchConfig::new(url.expose());
        config.user = user.map(str::to_owned);
        if let Some(path) = password_file {
            config.password = Some(keyring("password_file", path, overlap)?);
        }
        config.q = self.couchdb_q;
        config.n = self.couchdb_n;
        Ok(Member { config, open })
    }
}

fn keyring(setting: &'static str, path: &Path, overlap: Duration) -> Result<Keyring> {
    Keyring::open(path, overlap, Rule::Line).map_err(|cause| Error::Config {
        setting,
        reason: format!("cannot read {}: {cause}", path.display()),
    })
}
