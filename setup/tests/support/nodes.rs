//! Fakes of CouchDB nodes before setup: `/_up`, `/_all_dbs`, `/_cluster_setup` and `/_membership`, with the answers of
//! CouchDB 3.4. Node I listens on 127.0.0.I, so that each node has its own host.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinSet};

use super::{PASSWORD, Told, couchdb};

#[derive(Default)]
struct Cluster {
    /// The administrator's password on each node.
    passwords: BTreeMap<String, String>,
    /// Whether the system databases exist.
    finished: bool,
    /// The nodes that have joined the first one.
    members: BTreeSet<String>,
    /// The nodes that cannot be connected to.
    cut_off: BTreeSet<String>,
    /// The actions that were requested, in order.
    actions: Vec<String>,
}

/// A set of fake nodes.
pub(crate) struct Nodes {
    urls: Vec<String>,
    hosts: Vec<String>,
    cluster: Arc<Mutex<Cluster>>,
    pub(crate) password_file: PathBuf,
    _folder: tempfile::TempDir,
    _serving: JoinSet<()>,
}

impl Nodes {
    pub(crate) async fn new(count: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let password_file = folder.path().join("password");
        std::fs::write(&password_file, PASSWORD).unwrap();
        let cluster = Arc::new(Mutex::new(Cluster::default()));
        let mut serving = JoinSet::new();
        let mut nodes = (Vec::new(), Vec::new());
        for number in 1..=count {
            let host = format!("127.0.0.{number}");
            let listener = TcpListener::bind((host.as_str(), 0)).await.unwrap();
            nodes
                .0
                .push(format!("http://{}", listener.local_addr().unwrap()));
            if number == 1 {
                cluster.lock().unwrap().members.insert(host.clone());
            }
            nodes.1.push(host.clone());
            let password = PASSWORD.to_owned();
            cluster
                .lock()
                .unwrap()
                .passwords
                .insert(host.clone(), password);
            serving.spawn(serve(listener, host.clone(), Arc::clone(&cluster)));
        }
        Self {
            urls: nodes.0,
            hosts: nodes.1,
            cluster,
            password_file,
            _folder: folder,
            _serving: serving,
        }
    }

    /// Joins the node at `index` to the cluster before the test starts.
    pub(crate) fn join(&self, index: usize) {
        let host = self.hosts.get(index).unwrap().clone();
        self.cluster.lock().unwrap().members.insert(host);
    }

    /// Cuts the node at `index` off from the others.
    pub(crate) fn cut_off(&self, index: usize) {
        let host = self.hosts.get(index).unwrap().clone();
        self.cluster.lock().unwrap().cut_off.insert(host);
    }

    /// The actions that were requested, in order.
    pub(crate) fn actions(&self) -> Vec<String> {
        self.cluster.lock().unwrap().actions.clone()
    }

    /// The administrator's password on each node, in order.
    pub(crate) fn passwords(&self) -> Vec<String> {
        self.cluster
            .lock()
            .unwrap()
            .passwords
            .values()
            .cloned()
            .collect()
    }

    pub(crate) async fn set_up(&self) -> Told {
        couchdb("couchdb", &self.password_file, 2, self.urls.clone()).await
    }

    pub(crate) async fn renew_password(&self) -> Told {
        couchdb(
            "renew-couchdb-password",
            &self.password_file,
            2,
            self.urls.clone(),
        )
        .await
    }
}

impl Cluster {
    fn answer(&mut self, path: &str, asked: &Value) -> (StatusCode, Value) {
        let ok = json!({ "ok": true });
        let refused = |reason: &str| {
            let body = json!({ "error": "bad_request", "reason": reason });
            (StatusCode::BAD_REQUEST, body)
        };
        let Some(action) = asked.get("action").and_then(Value::as_str) else {
            let name = |host: &String| format!("couchdb@{host}");
            let connected = |host: &&String| !self.cut_off.contains(*host);
            let answer = match path {
                "/_up" => json!({ "status": "ok", "seeds": {} }),
                "/_all_dbs" => json!([]),
                "/_cluster_setup" if self.finished => json!({ "state": "cluster_finished" }),
                "/_cluster_setup" => json!({ "state": "cluster_enabled" }),
                "/_membership" => json!({
                    "all_nodes": self.members.iter().filter(connected).map(name).collect::<Vec<_>>(),
                    "cluster_nodes": self.members.iter().map(name).collect::<Vec<_>>(),
                }),
                _ => return (StatusCode::NOT_FOUND, json!({ "error": "not_found" })),
            };
            return (StatusCode::OK, answer);
        };
        self.actions.push(action.to_owned());
        match action {
            "enable_single_node" | "finish_cluster" if self.finished => {
                return refused("Cluster is already finished");
            }
            "enable_single_node" | "finish_cluster" => self.finished = true,
            "add_node" => {
                let host = asked
                    .get("host")
                    .and_then(Value::as_str)
                    .unwrap_or_default();
                let password = asked.get("password").and_then(Value::as_str);
                if password != Some(PASSWORD) || !self.members.insert(host.to_owned()) {
                    return refused("Add node failed.");
                }
            }
            _ => return refused("Invalid Action'"),
        }
        (StatusCode::CREATED, ok)
    }
}

fn basic(password: &str) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    format!("Basic {}", STANDARD.encode(format!("admin:{password}")))
}

async fn serve(listener: TcpListener, host: String, cluster: Arc<Mutex<Cluster>>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let cluster = Arc::clone(&cluster);
        let host = host.clone();
        tokio::spawn(async move {
            let answering = service_fn(move |request: Request<Incoming>| {
                answer(request, host.clone(), Arc::clone(&cluster))
            });
            // A client that disconnects is not a failure of the test.
            let _ = http1::Builder::new()
                .serve_connection(TokioIo::new(stream), answering)
                .await;
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    host: String,
    cluster: Arc<Mutex<Cluster>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    let authorization = request.headers().get("authorization").cloned();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let asked: Value = serde_json::from_slice(&body).unwrap_or_default();
    let (status, body) = {
        let mut cluster = cluster.lock().unwrap();
        let expected = basic(cluster.passwords.get(&host).unwrap());
        if path != "/_up" && authorization.is_none_or(|shown| shown != expected) {
            let body =
                json!({ "error": "unauthorized", "reason": "Name or password is incorrect." });
            (StatusCode::UNAUTHORIZED, body)
        } else if path == "/_node/_local/_config/admins/admin" {
            let password = asked.as_str().unwrap().to_owned();
            cluster.passwords.insert(host, password);
            (StatusCode::OK, json!(""))
        } else {
            cluster.answer(&path, &asked)
        }
    };
    let response = Response::builder()
        .status(status)
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body.to_string())))
        .unwrap();
    Ok(response)
}
