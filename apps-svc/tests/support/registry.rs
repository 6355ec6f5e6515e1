//! A registry that serves the fixture files, with some spaces that misbehave.

use std::{convert::Infallible, net::SocketAddr, path::Path, sync::Arc};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, StatusCode, body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, sync::Mutex};
use tokio_util::sync::CancellationToken;

/// Statuses that a space of their name answers to everything: `answers-403`.
pub(crate) const STATUSES: [(u16, bool); 11] = [
    // Whether another try may get another answer.
    (204, false),
    (304, false),
    (400, false),
    (401, false),
    (403, false),
    (451, false),
    (408, true),
    (425, true),
    (429, true),
    (500, true),
    (503, true),
];

/// A running registry that records the requested paths.
#[derive(Clone)]
pub(crate) struct Registry {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Registry {
    pub(crate) async fn start(stop: CancellationToken) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let registry = Self {
            address: listener.local_addr().unwrap(),
            asked: Arc::default(),
        };
        let serving = registry.clone();
        tokio::spawn(async move {
            loop {
                let stream = tokio::select! {
                    () = stop.cancelled() => return,
                    accepted = listener.accept() => accepted.unwrap().0,
                };
                let serving = serving.clone();
                let answer = service_fn(move |request| {
                    let serving = serving.clone();
                    async move { Ok::<_, Infallible>(serving.answer(request).await) }
                });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), answer),
                );
            }
        });
        registry
    }

    /// The URL of a space. It has a path.
    pub(crate) fn space(&self, space: &str) -> String {
        format!("http://{}/{space}", self.address)
    }

    /// The URL of a file in the fixture registry.
    pub(crate) fn file(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    /// The paths requested so far.
    pub(crate) async fn asked(&self) -> Vec<String> {
        self.asked.lock().await.clone()
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let path = request.uri().path().to_owned();
        self.asked.lock().await.push(path.clone());
        let with = |status: StatusCode, body: Vec<u8>| {
            let mut answer = Response::new(Full::new(Bytes::from(body)));
            *answer.status_mut() = status;
            answer
        };
        if path.starts_with("/silent/") {
            std::future::pending::<()>().await;
        }
        if path.starts_with("/broken/") {
            return with(
                StatusCode::INTERNAL_SERVER_ERROR,
                b"{\"error\":\"no\"}".to_vec(),
            );
        }
        // `/answers-403/…`
        let status = path
            .strip_prefix("/answers-")
            .and_then(|rest| rest.get(..3));
        if let Some(status) = status.and_then(|status| status.parse().ok()) {
            return with(status, b"{\"error\":\"no\"}".to_vec());
        }
        if path.starts_with("/round/") {
            let mut answer = with(StatusCode::FOUND, Vec::new());
            answer
                .headers_mut()
                .insert("location", "/round/again".parse().unwrap());
            return answer;
        }
        if path.starts_with("/away/") {
            let mut answer = with(StatusCode::FOUND, Vec::new());
            let target = format!("http://127.0.0.2:{}/home.tar", self.address.port());
            answer
                .headers_mut()
                .insert("location", target.parse().unwrap());
            return answer;
        }
        let file = super::fixtures()
            .join("registry")
            .join(path.trim_start_matches('/'));
        match read(&file) {
            Some((body, true)) => {
                let text = String::from_utf8(body).unwrap();
                let here = format!("http://{}", self.address);
                with(
                    StatusCode::OK,
                    text.replace("http://registry.invalid", &here).into_bytes(),
                )
            }
            Some((body, false)) => with(StatusCode::OK, body),
            None => with(StatusCode::NOT_FOUND, b"{\"error\":\"not found\"}".to_vec()),
        }
    }
}

/// A file of the registry, and whether it is JSON.
fn read(file: &Path) -> Option<(Vec<u8>, bool)> {
    let named = |end: &str| std::path::PathBuf::from(format!("{}{end}", file.display()));
    std::fs::read(named(".json"))
        .or_else(|_| std::fs::read(file.join("index.json")))
        .map(|body| (body, true))
        .or_else(|_| std::fs::read(file).map(|body| (body, false)))
        .ok()
}
