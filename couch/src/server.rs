//! The server: its databases and its health.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::config::CouchConfig;
use crate::error::{Call, Error, Result};
use crate::names::DbName;
use crate::transport::{Request, Transport};

/// The most keys that `_dbs_info` accepts in one call.
const INFOS_AT_ONCE: usize = 100;

/// A CouchDB server, or a cluster behind one address. Clones share connections and counters.
#[derive(Clone)]
pub struct Couch {
    pub(crate) transport: Arc<Transport>,
    q: u16,
    n: Option<u16>,
    pub(crate) feed_timeout: Duration,
    pub(crate) race_timeout: Duration,
}

/// The outcome of creating a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Creation {
    /// The database is new. If the response to a first attempt is lost, the repeat returns
    /// [`Creation::AlreadyExists`] instead.
    Created,
    /// The database already exists.
    AlreadyExists,
}

/// The outcome of deleting a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// The database existed. If the response to a first attempt is lost, the repeat returns
    /// [`Removal::Missing`] instead.
    Deleted,
    /// The database did not exist.
    Missing,
}

/// Statistics of a database.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct DbInfo {
    /// The number of documents that are not deleted.
    pub doc_count: u64,
    /// The number of tombstones.
    pub doc_del_count: u64,
    /// The latest sequence of the changes feed. Opaque: a number in CouchDB 1, a string in later versions.
    #[serde(deserialize_with = "sequence")]
    pub update_seq: String,
}

/// Reads a sequence, which is opaque JSON: a string as its text, anything else as its JSON.
pub(crate) fn sequence<'de, D: serde::Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    Ok(match Value::deserialize(from)? {
        Value::String(text) => text,
        other => other.to_string(),
    })
}

impl fmt::Debug for Couch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Couch")
            .field("requests", &self.requests())
            .finish_non_exhaustive()
    }
}

impl Couch {
    /// Creates a client. Nothing is sent yet (see [`Couch::wait_until_up`]).
    ///
    /// # Errors
    /// [`Error::Config`] for an invalid setting.
    pub fn connect(config: &CouchConfig) -> Result<Self> {
        if config.q == 0 || config.n == Some(0) {
            return Err(Error::Config {
                setting: if config.q == 0 { "q" } else { "n" },
                reason: "it is zero: a database has at least one".to_owned(),
            });
        }
        Ok(Self {
            transport: Transport::open(config)?,
            q: config.q,
            n: config.n,
            feed_timeout: config.feed_timeout,
            race_timeout: config.race_timeout,
        })
    }

    /// How many requests this client and its clones have sent, repeats included.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.transport.requests()
    }

    /// Checks once that the server takes requests and accepts the credentials.
    ///
    /// # Errors
    /// [`Error::Unauthorized`] if the server refuses the credentials.
    pub async fn up(&self) -> Result<()> {
        // `_up` needs no credentials. Only an administrator may list databases.
        let call = Call::server("ask whether it is up");
        self.transport
            .send_once(&Request::new(&call, Method::GET, "_up"))
            .await?
            .success(&call)?;
        self.transport
            .send_once(&Request::new(&call, Method::GET, "_all_dbs").query("limit", "1"))
            .await?
            .success(&call)?;
        Ok(())
    }

    /// Calls [`Couch::up`] until it succeeds, for at most `patience`.
    ///
    /// # Errors
    /// The last error after `patience`. An error that is not retryable is returned at once.
    pub async fn wait_until_up(&self, patience: Duration) -> Result<()> {
        let deadline = Instant::now() + patience;
        let mut attempt = 0;
        loop {
            attempt += 1;
            let Err(error) = self.up().await else {
                return Ok(());
            };
            let pause = self
                .transport
                .random
                .backoff(attempt, Duration::from_secs(1));
            if !error.is_retryable() || Instant::now() + pause >= deadline {
                return Err(error);
            }
            if attempt == 4 {
                tracing::info!(%error, "waiting for the database");
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Creates a database with the `q` and `n` of the settings.
    pub async fn create_database(&self, name: &DbName) -> Result<Creation> {
        let call = Call::database("create database", name.as_str());
        let mut request =
            Request::new(&call, Method::PUT, name.encoded()).query("q", self.q.to_string());
        if let Some(n) = self.n {
            request = request.query("n", n.to_string());
        }
        let response = self.transport.send_idempotent(&request).await?;
        match response.status {
            StatusCode::PRECONDITION_FAILED => Ok(Creation::AlreadyExists),
            // 202 means that not all nodes have created it yet. Unlike a document, a database cannot lose a
            // race.
            status if status.is_success() => Ok(Creation::Created),
            _ => Err(response.to_error(&call)),
        }
    }

    /// Deletes a database with its documents.
    pub async fn delete_database(&self, name: &DbName) -> Result<Removal> {
        let call = Call::database("delete database", name.as_str());
        let request = Request::new(&call, Method::DELETE, name.encoded());
        let response = self.transport.send_idempotent(&request).await?;
        match response.status {
            StatusCode::NOT_FOUND => Ok(Removal::Missing),
            status if status.is_success() => Ok(Removal::Deleted),
            _ => Err(response.to_error(&call)),
        }
    }

    /// The names of all databases that begin with `prefix`, in order. An empty prefix matches all.
    ///
    /// On a cluster the list may be outdated.
    pub async fn databases_with_prefix(&self, prefix: &str) -> Result<Vec<String>> {
        let call = Call::server("list databases");
        let mut request = Request::new(&call, Method::GET, "_all_dbs");
        if !prefix.is_empty() {
            request = request
                .query("start_key", json!(prefix).to_string())
                .query("end_key", json!(format!("{prefix}\u{fff0}")).to_string());
        }
        let mut names: Vec<String> = self
            .transport
            .send_idempotent(&request)
            .await?
            .success(&call)?
            .json(&call)?;
        names.retain(|name| name.starts_with(prefix));
        Ok(names)
    }

    /// Statistics of each of `names`. A database that does not exist is not in the map.
    pub async fn database_infos(&self, names: &[DbName]) -> Result<HashMap<DbName, DbInfo>> {
        #[derive(Deserialize)]
        struct Row {
            key: String,
            info: Option<DbInfo>,
        }
        let call = Call::server("read database infos");
        let mut infos = HashMap::with_capacity(names.len());
        for chunk in names.chunks(INFOS_AT_ONCE) {
            let keys: Vec<&str> = chunk.iter().map(DbName::as_str).collect();
            let request =
                Request::new(&call, Method::POST, "_dbs_info").json(&json!({ "keys": keys }));
            let rows: Vec<Row> = self
                .transport
                .send_idempotent(&request)
                .await?
                .success(&call)?
                .json(&call)?;
            let mut found: HashMap<String, DbInfo> = rows
                .into_iter()
                .filter_map(|row| row.info.map(|info| (row.key, info)))
                .collect();
            for name in chunk {
                if let Some(info) = found.remove(name.as_str()) {
                    infos.insert(name.clone(), info);
                }
            }
        }
        Ok(infos)
    }
}
