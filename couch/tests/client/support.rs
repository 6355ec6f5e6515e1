//! Servers to test against.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use couch::{Couch, CouchConfig, Database, DbName, DocId};
use embedded_couchdb::{Config, faults::Faults};
use test_kit::database::Embedded;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// An embedded or real server, and a database prefix that nobody else uses.
pub(crate) struct TestServer {
    pub(crate) couch: Couch,
    pub(crate) url: String,
    pub(crate) prefix: String,
    pub(crate) faults: Faults,
    /// The server and its folder, if it is ours.
    _embedded: Option<(Embedded, tempfile::TempDir)>,
}

impl TestServer {
    pub(crate) async fn embedded() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = Config::new(folder.path().join("data"), "admin", "pass:w@rd");
        let server = Embedded::open(config).await;
        let url = format!("http://{}", server.address());
        let mut settings = CouchConfig::new(&url).with_credentials("admin", "pass:w@rd");
        settings.call_timeout = Duration::from_secs(5);
        settings.feed_timeout = Duration::from_secs(2);
        Self {
            couch: Couch::connect(&settings).unwrap(),
            url,
            prefix: fresh_prefix(),
            faults: server.faults().clone(),
            _embedded: Some((server, folder)),
        }
    }

    fn real() -> Option<Self> {
        let url = std::env::var("HAMLET_TEST_COUCHDB_URL")
            .ok()
            .filter(|url| !url.is_empty())?;
        let mut settings = CouchConfig::new(&url);
        settings.feed_timeout = Duration::from_secs(2);
        // A server that is shared with others may be slow.
        settings.call_timeout = Duration::from_secs(30);
        Some(Self {
            couch: Couch::connect(&settings).unwrap(),
            url,
            prefix: fresh_prefix(),
            faults: Faults::new(),
            _embedded: None,
        })
    }

    /// The embedded server and the real one, if there is one.
    pub(crate) async fn all() -> Vec<Self> {
        let mut servers = vec![Self::embedded().await];
        servers.extend(Self::real());
        servers
    }

    pub(crate) fn name(&self, doctype: &str) -> DbName {
        DbName::instance(&self.prefix, doctype).unwrap()
    }

    /// A new, empty database.
    pub(crate) async fn database(&self, doctype: &str) -> Database {
        let name = self.name(doctype);
        self.couch.create_database(&name).await.unwrap();
        self.couch.database(&name)
    }

    /// Removes the databases of the test.
    pub(crate) async fn clean(self) {
        self.faults.clear();
        for name in self
            .couch
            .databases_with_prefix(&format!("{}/", self.prefix))
            .await
            .unwrap()
        {
            let name = DbName::new(name).unwrap();
            self.couch.delete_database(&name).await.unwrap();
        }
    }
}

fn fresh_prefix() -> String {
    format!("couchtest{}", DocId::ascending())
}

/// How a [`ScriptedServer`] replies to a request.
#[derive(Clone)]
pub(crate) enum Reply {
    /// With this status and body.
    Answer(u16, &'static str),
    /// With less than the announced content length, then closes the connection.
    CutOff,
    /// Never.
    Hang,
}

/// A server that replies as scripted and records the requests.
pub(crate) struct ScriptedServer {
    pub(crate) url: String,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    connections: usize,
    heads: Vec<String>,
}

impl ScriptedServer {
    /// The last reply is repeated.
    pub(crate) async fn serve(replies: Vec<Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Seen::default()));
        let recorded = Arc::clone(&seen);
        let replies = Arc::new(replies);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                recorded.lock().unwrap().connections += 1;
                tokio::spawn(converse(
                    stream,
                    Arc::clone(&replies),
                    Arc::clone(&recorded),
                ));
            }
        });
        Self { url, seen }
    }

    pub(crate) fn connections(&self) -> usize {
        self.seen.lock().unwrap().connections
    }

    /// The heads of the requests so far, in lower case.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.seen.lock().unwrap().heads.clone()
    }

    pub(crate) fn client(&self) -> Couch {
        let mut settings = CouchConfig::new(&self.url).with_credentials("admin", "very-secret");
        settings.call_timeout = Duration::from_millis(700);
        Couch::connect(&settings).unwrap()
    }
}

async fn converse(mut stream: TcpStream, replies: Arc<Vec<Reply>>, seen: Arc<Mutex<Seen>>) {
    let mut held = Vec::new();
    loop {
        let Some(head) = read_request(&mut stream, &mut held).await else {
            return;
        };
        let reply = {
            let mut seen = seen.lock().unwrap();
            seen.heads.push(head);
            let at = (seen.heads.len() - 1).min(replies.len() - 1);
            replies[at].clone()
        };
        let answer = match reply {
            Reply::Answer(status, body) => format!(
                "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            ),
            Reply::CutOff => "HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{\"ok\":".to_owned(),
            Reply::Hang => std::future::pending().await,
        };
        if stream.write_all(answer.as_bytes()).await.is_err() || matches!(reply, Reply::CutOff) {
            return;
        }
    }
}

/// Reads a whole request and returns its head; `None` if the client closed the connection.
async fn read_request(stream: &mut TcpStream, held: &mut Vec<u8>) -> Option<String> {
    loop {
        let text = String::from_utf8_lossy(held).to_lowercase();
        if let Some(end) = text.find("\r\n\r\n") {
            let head = text[..end].to_owned();
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .map_or(0, |length| length.parse::<usize>().unwrap());
            if held.len() >= end + 4 + length {
                held.drain(..end + 4 + length);
                return Some(head);
            }
        }
        let mut chunk = [0; 4096];
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => return None,
            Ok(read) => held.extend_from_slice(&chunk[..read]),
        }
    }
}
