//! The server: its databases, and whether it is up.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::config::CouchConfig;
use crate::database::Database;
use crate::error::{Call, Error, Result};
use crate::names::DbName;
use crate::transport::{Outgoing, Transport};

/// `_dbs_info` refuses more keys than this in one call.
const INFOS_AT_ONCE: usize = 100;

/// A server, or a cluster of them behind one address. Clones share connections and counters.
#[derive(Clone)]
pub struct Couch {
    pub(crate) transport: Arc<Transport>,
    q: u16,
    n: Option<u16>,
    pub(crate) feed_timeout: Duration,
    pub(crate) race_timeout: Duration,
}

/// What became of creating a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Creation {
    /// It was not there before. (When the answer to a first attempt was lost, the repeat says
    /// [`Creation::AlreadyExists`].)
    Created,
    /// It is there already.
    AlreadyExists,
}

/// What became of deleting a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// It was there. (When the answer to a first attempt was lost, the repeat says
    /// [`Removal::Missing`].)
    Deleted,
    /// It was not there.
    Missing,
}

/// What a server tells about a database.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct DbInfo {
    /// Documents, without the deleted ones.
    pub doc_count: u64,
    /// Deleted documents of which a tombstone is left.
    pub doc_del_count: u64,
    /// Where the changes feed stands. Opaque; a number in CouchDB 1, text since.
    #[serde(deserialize_with = "sequence")]
    pub update_seq: String,
}

/// Sequences are opaque JSON: text is taken as it is, the rest as JSON.
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
    /// Prepares a connection; nothing is sent yet (see [`Couch::wait_until_up`]).
    ///
    /// # Errors
    /// [`Error::Config`] when a setting cannot be used.
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

    /// How many requests this handle and its clones have sent, repeats included.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.transport.requests()
    }

    /// A database, whether it exists or not.
    #[must_use]
    pub fn database(&self, name: &DbName) -> Database {
        Database::new(self.clone(), name.clone())
    }

    /// Whether the server takes requests and accepts our credentials, asked once.
    ///
    /// # Errors
    /// [`Error::Unauthorized`] for credentials that are refused, any other that a call can have.
    pub async fn up(&self) -> Result<()> {
        // `_up` is answered to anyone; the list of databases only to those who may do our work.
        let call = Call::server("ask whether it is up");
        self.transport
            .write(&Outgoing::new(&call, Method::GET, "_up"))
            .await?
            .success(&call)?;
        self.transport
            .write(&Outgoing::new(&call, Method::GET, "_all_dbs").query("limit", "1"))
            .await?
            .success(&call)?;
        Ok(())
    }

    /// Waits until [`Couch::up`], asking again and again for at most `patience`.
    ///
    /// # Errors
    /// The last error when the time is over; at once when waiting cannot help.
    pub async fn wait_until_up(&self, patience: Duration) -> Result<()> {
        let deadline = Instant::now() + patience;
        let mut attempt = 0;
        loop {
            attempt += 1;
            let Err(error) = self.up().await else {
                return Ok(());
            };
            let pause = self.transport.dice.backoff(attempt, Duration::from_secs(1));
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
    ///
    /// # Errors
    /// Any that a call can have.
    pub async fn create_database(&self, name: &DbName) -> Result<Creation> {
        let call = Call::database("create database", name.as_str());
        let mut outgoing =
            Outgoing::new(&call, Method::PUT, name.encoded()).query("q", self.q.to_string());
        if let Some(n) = self.n {
            outgoing = outgoing.query("n", n.to_string());
        }
        let answer = self.transport.repeatable(&outgoing).await?;
        match answer.status {
            StatusCode::PRECONDITION_FAILED => Ok(Creation::AlreadyExists),
            // 202 is "on its way on fewer nodes than wanted"; databases are never contested.
            status if status.is_success() => Ok(Creation::Created),
            _ => Err(answer.refusal(&call)),
        }
    }

    /// Deletes a database and all that is in it.
    ///
    /// # Errors
    /// Any that a call can have.
    pub async fn delete_database(&self, name: &DbName) -> Result<Removal> {
        let call = Call::database("delete database", name.as_str());
        let outgoing = Outgoing::new(&call, Method::DELETE, name.encoded());
        let answer = self.transport.repeatable(&outgoing).await?;
        match answer.status {
            StatusCode::NOT_FOUND => Ok(Removal::Missing),
            status if status.is_success() => Ok(Removal::Deleted),
            _ => Err(answer.refusal(&call)),
        }
    }

    /// The names of all databases that begin with `prefix`, in order. An empty prefix means all.
    ///
    /// On a cluster the list may lag: no decision may rest on it alone.
    ///
    /// # Errors
    /// Any that a call can have.
    pub async fn databases_with_prefix(&self, prefix: &str) -> Result<Vec<String>> {
        let call = Call::server("list databases");
        let mut outgoing = Outgoing::new(&call, Method::GET, "_all_dbs");
        if !prefix.is_empty() {
            outgoing = outgoing
                .query("start_key", json!(prefix).to_string())
                .query("end_key", json!(format!("{prefix}\u{fff0}")).to_string());
        }
        let mut names: Vec<String> = self
            .transport
            .repeatable(&outgoing)
            .await?
            .success(&call)?
            .json(&call)?;
        names.retain(|name| name.starts_with(prefix));
        Ok(names)
    }

    /// What the server tells about each of `names`; a database that does not exist is not in the map.
    ///
    /// # Errors
    /// Any that a call can have.
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
            let outgoing =
                Outgoing::new(&call, Method::POST, "_dbs_info").json(&json!({ "keys": keys }));
            let rows: Vec<Row> = self
                .transport
                .repeatable(&outgoing)
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
