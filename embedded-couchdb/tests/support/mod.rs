//! Servers to test against, and an HTTP client.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a failed expectation is the test failing; not every test uses every part"
)]

use std::{
    collections::HashMap,
    num::NonZeroU32,
    path::{Path, PathBuf},
    sync::Mutex,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use embedded_couchdb::{Config, Error, Server, faults::Faults};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use ring::pbkdf2;
use serde_json::Value;
use test_kit::eventually;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

/// A server in this process, with its own data folder.
pub(crate) struct Embedded {
    pub(crate) client: Client,
    pub(crate) data: PathBuf,
    pub(crate) faults: Faults,
    folder: Option<tempfile::TempDir>,
    stop: CancellationToken,
    serving: Option<JoinHandle<()>>,
}

impl Embedded {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let mut server = Self::over(&data).await;
        server.folder = Some(folder);
        server
    }

    pub(crate) async fn over(data: &Path) -> Self {
        let faults = Faults::new();
        let mut config = Config::new(data, "admin", "password");
        config.faults = Some(faults.clone());
        config.javascript = Some(env!("CARGO_BIN_EXE_embedded-couchdb").into());
        Self::with(config, faults).await
    }

    pub(crate) async fn with(config: Config, faults: Faults) -> Self {
        let data = config.data.clone();
        // A child process that another test starts just now holds the lock of a server that has ended until it runs its
        // own program.
        let opened = eventually(
            "a data folder that is not in use",
            async || match Server::open(config.clone()).await {
                Err(Error::InUse { .. }) => None,
                other => Some(other),
            },
        );
        let server = opened.await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let serving = tokio::spawn(server.serve(listener, stop.clone()));
        Self {
            client: Client::new(&address.to_string()),
            data,
            faults,
            folder: None,
            stop,
            serving: Some(serving),
        }
    }

    /// Stops the server and returns when its folder is unlocked.
    pub(crate) async fn stop(mut self) -> Option<tempfile::TempDir> {
        self.stop.cancel();
        self.serving.take().unwrap().await.unwrap();
        self.folder.take()
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// The real CouchDB that `HAMLET_TEST_COUCHDB_URL` names, if it is set.
pub(crate) fn real_couchdb() -> Option<Client> {
    let url = std::env::var("HAMLET_TEST_COUCHDB_URL")
        .ok()
        .filter(|url| !url.is_empty())?;
    let rest = url
        .strip_prefix("http://")
        .expect("HAMLET_TEST_COUCHDB_URL starts with http://");
    let (credentials, address) = rest
        .split_once('@')
        .expect("HAMLET_TEST_COUCHDB_URL has user:password@");
    let mut client = Client::new(address.trim_end_matches('/'));
    let (user, password) = credentials.split_once(':').unwrap();
    client.authorization = Some(basic(user, password));
    Some(client)
}

pub(crate) fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

/// A response.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: Bytes,
}

impl Reply {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text());
        self
    }
}

/// A client that reuses its connection.
pub(crate) struct Client {
    pub(crate) address: String,
    pub(crate) authorization: Option<String>,
    idle: Mutex<Vec<SendRequest<Full<Bytes>>>>,
}

impl Clone for Client {
    fn clone(&self) -> Self {
        Self {
            address: self.address.clone(),
            authorization: self.authorization.clone(),
            idle: Mutex::default(),
        }
    }
}

impl Client {
    pub(crate) fn new(address: &str) -> Self {
        Self {
            address: address.to_owned(),
            authorization: Some(basic("admin", "password")),
            idle: Mutex::default(),
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    async fn connection(&self) -> Result<SendRequest<Full<Bytes>>, String> {
        let idle = self.idle.lock().unwrap().pop();
        if let Some(mut sender) = idle
            && sender.ready().await.is_ok()
        {
            return Ok(sender);
        }
        let stream = TcpStream::connect(&self.address)
            .await
            .map_err(|error| error.to_string())?;
        stream.set_nodelay(true).unwrap();
        let (sender, connection) = handshake(TokioIo::new(stream))
            .await
            .map_err(|error| error.to_string())?;
        tokio::spawn(connection);
        Ok(sender)
    }

    async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<
        (
            SendRequest<Full<Bytes>>,
            http::Response<hyper::body::Incoming>,
        ),
        String,
    > {
        let mut sender = self.connection().await?;
        let mut request = http::Request::builder().method(method).uri(path);
        if !headers
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case("host"))
        {
            request = request.header("host", &self.address);
        }
        if let Some(authorization) = &self.authorization
            && !headers
                .iter()
                .any(|(name, _)| name.eq_ignore_ascii_case("authorization"))
        {
            request = request.header("authorization", authorization);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request
            .body(Full::new(Bytes::copy_from_slice(body)))
            .unwrap();
        let response = sender
            .send_request(request)
            .await
            .map_err(|error| error.to_string())?;
        Ok((sender, response))
    }

    /// Sends a request and returns the response with an unread body.
    pub(crate) async fn open(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<http::Response<hyper::body::Incoming>, String> {
        Ok(self.send(method, path, headers, body).await?.1)
    }

    /// Sends a request and returns an error if the connection breaks.
    pub(crate) async fn attempt(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Reply, String> {
        let (sender, response) = self.send(method, path, headers, body).await?;
        let (parts, body) = response.into_parts();
        let body = body
            .collect()
            .await
            .map_err(|error| error.to_string())?
            .to_bytes();
        if parts
            .headers
            .get("connection")
            .is_none_or(|value| value != "close")
        {
            self.idle.lock().unwrap().push(sender);
        }
        Ok(Reply {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body,
        })
    }

    pub(crate) async fn call(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Reply {
        let sent = self.attempt(method, path, headers, body);
        tokio::time::timeout(Duration::from_secs(60), sent)
            .await
            .expect("an answer within a minute")
            .unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.call("GET", path, &[], b"").await
    }

    pub(crate) async fn delete(&self, path: &str) -> Reply {
        self.call("DELETE", path, &[], b"").await
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> Reply {
        self.call("PUT", path, &[], body.to_string().as_bytes())
            .await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Reply {
        self.call(
            "POST",
            path,
            &[("content-type", "application/json")],
            body.to_string().as_bytes(),
        )
        .await
    }

    /// Creates a new database, with one shard so that the order of feeds is defined.
    pub(crate) async fn fresh(&self, name: &str) -> String {
        let path = format!("/{name}");
        self.delete(&path).await;
        self.put(&format!("{path}?q=1"), &Value::Null)
            .await
            .expect(201);
        path
    }
}

/// Replaces values that differ between two servers.
pub(crate) fn mask(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(mask),
        Value::Object(members) => {
            members.remove("ref");
            members.remove("git_sha");
            for (key, inner) in members.iter_mut() {
                let masked = match key.as_str() {
                    "seq" | "last_seq" | "update_seq" | "purge_seq" => inner
                        .as_str()
                        .and_then(|text| text.split_once('-'))
                        .map(|(number, _)| Value::from(format!("{number}-…"))),
                    "uuid"
                    | "instance_start_time"
                    | "sizes"
                    | "execution_time_ms"
                    | "compact_running"
                    | "git_sha"
                    | "vendor"
                    | "features"
                    | "uuids"
                    | "signature"
                    | "all_nodes"
                    | "cluster_nodes"
                    | "collator_versions"
                    | "updater_running"
                    | "waiting_clients"
                    | "waiting_commit"
                    | "cluster" => Some(Value::from("…")),
                    "bookmark" if inner.as_str() != Some("nil") => Some(Value::from("…")),
                    // Their order is not significant.
                    "index_candidates" => {
                        if let Value::Array(items) = inner {
                            items.sort_by_key(ToString::to_string);
                        }
                        None
                    }
                    _ => None,
                };
                match masked {
                    Some(masked) => *inner = masked,
                    None => mask(inner),
                }
            }
        }
        _ => {}
    }
}

/// The latest revision of each document, from responses.
pub(crate) type Revs = HashMap<String, String>;

/// Adds the hash of a password to the document of a user, with one iteration: it takes no time.
pub(crate) fn add_hash(doc: &mut Value, salt: &str, password: &str) {
    let mut key = [0; 32];
    let (algorithm, once) = (pbkdf2::PBKDF2_HMAC_SHA256, NonZeroU32::MIN);
    pbkdf2::derive(
        algorithm,
        once,
        salt.as_bytes(),
        password.as_bytes(),
        &mut key,
    );
    doc["password_scheme"] = "pbkdf2".into();
    doc["pbkdf2_prf"] = "sha256".into();
    doc["iterations"] = 1.into();
    doc["salt"] = salt.into();
    doc["derived_key"] = hex::encode(key).into();
}
