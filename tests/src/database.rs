//! A database outside of `hamletd`: embedded-couchdb in the test's own process, or a real CouchDB when
//! `HAMLET_TEST_COUCHDB_URL` names one. It is inspected over its HTTP API, as other software would do.

use std::path::Path;

use embedded_couchdb::Config;
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use test_kit::database::{Embedded, Server};

const USER: &str = "admin";
const PASSWORD: &str = "password";

/// A database server.
#[derive(Debug)]
pub struct Database {
    client: Client,
    url: String,
    running: Running,
}

/// What keeps a server available to the test.
#[derive(Debug)]
#[expect(
    dead_code,
    reason = "the fields are held for their Drop: the folder, and the lock on a real server"
)]
enum Running {
    /// The server runs in this process. The folder is removed with it, if it is temporary.
    Here(Embedded, Option<TempDir>),
    /// A real server, reserved for this test until this value is dropped.
    Elsewhere(Server),
    /// A server run by something else.
    Unknown,
}

impl Database {
    /// An empty server.
    ///
    /// # Panics
    /// When it cannot be started or reached.
    pub async fn empty() -> Self {
        match std::env::var("HAMLET_TEST_COUCHDB_URL") {
            Ok(url) if !url.is_empty() => {
                let server = Server::emptied(&[url]).await;
                Self::new(server.url().to_owned(), Running::Elsewhere(server))
            }
            _ => Self::embedded().await,
        }
    }

    /// An empty embedded server. Its folder is on disk, because benchmarks use it too.
    ///
    /// # Panics
    /// When it cannot be started.
    pub async fn embedded() -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let config = Config::new(folder.path(), USER, PASSWORD);
        Self::serve(config, USER, PASSWORD, Some(folder)).await
    }

    /// The embedded database in the data folder of a `hamletd` that has ended.
    ///
    /// # Panics
    /// When it cannot be opened.
    pub async fn of_stopped(data: &Path) -> Self {
        let password = std::fs::read_to_string(data.join("couchdb-password")).expect("password");
        let password = password.trim();
        let config = Config::new(data.join("couchdb"), "hamlet", password);
        Self::serve(config, "hamlet", password, None).await
    }

    async fn serve(config: Config, user: &str, password: &str, folder: Option<TempDir>) -> Self {
        let server = Embedded::open(config).await;
        let url = format!("http://{user}:{password}@{}", server.address());
        Self::new(url, Running::Here(server, folder))
    }

    fn new(url: String, running: Running) -> Self {
        Self {
            client: client(),
            url,
            running,
        }
    }

    /// A server run by something else, with its present content.
    #[must_use]
    pub fn at(url: &str) -> Self {
        Self::new(url.trim_end_matches('/').to_owned(), Running::Unknown)
    }

    /// Its URL with user and password, for `--couchdb`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Closes an embedded server, and waits until its folder can be opened again.
    ///
    /// # Panics
    /// When one of its tasks panicked.
    pub async fn close(self) {
        if let Running::Here(server, _) = self.running {
            server.close().await;
        }
    }

    /// The number of served requests; `None` for a real server.
    #[must_use]
    pub fn served(&self) -> Option<u64> {
        match &self.running {
            Running::Here(server, _) => Some(server.served()),
            Running::Elsewhere(_) | Running::Unknown => None,
        }
    }

    /// Makes one request: method, path, body. Returns the status and the JSON body.
    ///
    /// # Panics
    /// When the answer is not JSON.
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> (StatusCode, Value) {
        let mut request = self.client.request(method, format!("{}/{path}", self.url));
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.expect("the database answers");
        let status = answer.status();
        (status, answer.json().await.expect("the answer is JSON"))
    }

    /// The names of all databases except CouchDB's own.
    ///
    /// # Panics
    /// When the database does not answer.
    pub async fn databases(&self) -> Vec<String> {
        let (_, names) = self.call(Method::GET, "_all_dbs", None).await;
        serde_json::from_value::<Vec<String>>(names)
            .expect("a list of names")
            .into_iter()
            .filter(|name| !name.starts_with('_'))
            .collect()
    }

    /// All documents of a database, including design documents; none when the database does not exist.
    ///
    /// # Panics
    /// When the database does not answer.
    pub async fn documents(&self, name: &str) -> Vec<Value> {
        let path = format!("{}/_all_docs?include_docs=true", encode(name));
        let (status, answer) = self.call(Method::GET, &path, None).await;
        if status == StatusCode::NOT_FOUND {
            return Vec::new();
        }
        let rows = answer["rows"].as_array().expect("rows");
        rows.iter().map(|row| row["doc"].clone()).collect()
    }

    /// The documents of a database, without design documents.
    pub async fn plain_documents(&self, name: &str) -> Vec<Value> {
        let mut documents = self.documents(name).await;
        documents.retain(|document| {
            !document["_id"]
                .as_str()
                .unwrap_or_default()
                .starts_with("_design/")
        });
        documents
    }

    /// Remains that do not belong to complete instances: databases and claims of no instance, records without an
    /// instance document, operations that have not ended.
    pub async fn leftovers(&self) -> Vec<String> {
        let instances = self.plain_documents("global/instances").await;
        let ids: Vec<&Value> = instances.iter().map(|document| &document["_id"]).collect();
        let prefixes: Vec<String> = instances
            .iter()
            .map(|document| format!("{}/", document["prefix"].as_str().unwrap_or_default()))
            .collect();
        let mut left = Vec::new();
        for name in self.databases().await {
            let known = name.starts_with("global/")
                || prefixes.iter().any(|prefix| name.starts_with(prefix));
            if !known {
                left.push(format!("database {name}"));
            }
        }
        for prefix in &prefixes {
            let count = self
                .databases()
                .await
                .iter()
                .filter(|name| name.starts_with(prefix))
                .count();
            if count < 16 {
                left.push(format!("only {count} databases under {prefix}"));
            }
        }
        for claim in self.plain_documents("global/hamlet-claims").await {
            if !ids.contains(&&claim["instance"]) {
                left.push(format!("claim {}", claim["_id"]));
            }
        }
        for record in self.plain_documents("global/hamlet-instances").await {
            if !ids.contains(&&record["_id"]) {
                left.push(format!("record {}", record["_id"]));
            }
        }
        for operation in self.plain_documents("global/hamlet-operations").await {
            let ended = ["succeeded", "failed"].map(|phase| json!(phase));
            if !ended.contains(&operation["phase"]) {
                left.push(format!("operation {operation}"));
            }
        }
        left
    }
}

/// The name of a database as one path segment.
#[must_use]
pub fn encode(name: &str) -> String {
    name.replace('/', "%2F")
}

pub(crate) fn client() -> Client {
    // Another test of the process may have installed it before.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder()
        .no_proxy()
        .build()
        .expect("a client can be made")
}
