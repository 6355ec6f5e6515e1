//! The server: connections, and the way from a request to its answer.

mod all_docs;
mod answer;
mod attachments;
mod auth;
mod body;
mod bulk;
mod call;
mod database;
mod document;
mod feed;
mod find;
mod incoming;
mod listing;
mod local;
mod race;
mod revisions;
mod root;
mod route;

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use futures::future::BoxFuture;
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{
    answer::Answer,
    auth::Auth,
    body::Body,
    call::{Call, decode},
};
pub(crate) use self::{
    call::Query,
    revisions::{Show, show},
};
use crate::{
    Config, Error,
    failure::Failure,
    faults::{Faults, Outcome},
    storage::{self, Store},
};

/// What this server calls itself. Clients look for the version of CouchDB whose API they get.
pub(crate) const SERVER: &str = "CouchDB/3.4.3 (embedded-couchdb)";
/// The version of CouchDB whose API is spoken.
pub(crate) const VERSION: &str = "3.4.3";

/// A larger request is refused unread; CouchDB's own limit is in gigabytes, which one machine's
/// memory should not meet.
const MAX_REQUEST: usize = 256 * 1024 * 1024;

/// How long answers in progress may take to end at a shutdown.
const GRACE: Duration = Duration::from_secs(2);

/// What requests work with.
pub(crate) struct App {
    pub(crate) store: Store,
    pub(crate) auth: Auth,
    pub(crate) uuid: String,
    pub(crate) faults: Option<Faults>,
    pub(crate) requests: AtomicU64,
    pub(crate) stop: CancellationToken,
    /// Answers that are written piece by piece.
    pub(crate) tasks: TaskTracker,
}

/// An open store, ready to be served.
pub struct Server {
    app: Arc<App>,
}

impl Server {
    /// Opens the data folder, creating it if it is missing.
    ///
    /// # Errors
    /// The folder cannot be written, is in use by another process, or holds a newer format.
    pub async fn open(config: Config) -> Result<Self, Error> {
        let data = config.data.clone();
        let max_pages = config.max_pages;
        let opened = tokio::task::spawn_blocking(move || Store::open(&data, max_pages)).await;
        let store = opened.map_err(|error| Error::Prepare {
            reason: error.to_string(),
        })??;
        let prepared = prepare(&store).await.map_err(|failure| Error::Prepare {
            reason: failure.to_string(),
        })?;
        let app = App {
            auth: Auth::new(config.user, config.password, prepared.secret),
            uuid: prepared.uuid,
            faults: config.faults,
            requests: AtomicU64::new(0),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            store,
        };
        Ok(Self { app: Arc::new(app) })
    }

    /// How many requests have been taken so far.
    pub fn requests(&self) -> u64 {
        self.app.requests.load(Ordering::Relaxed)
    }

    /// A handle that counts on while the server serves.
    pub fn request_counter(&self) -> impl Fn() -> u64 + Send + Sync + Clone + 'static {
        let app = Arc::downgrade(&self.app);
        move || {
            app.upgrade()
                .map_or(0, |app| app.requests.load(Ordering::Relaxed))
        }
    }

    /// Serves until `shutdown` is cancelled. Answers in progress may end within two seconds, feeds
    /// end at once. The data folder is free again when this returns.
    pub fn serve(
        self,
        listener: TcpListener,
        shutdown: CancellationToken,
    ) -> BoxFuture<'static, ()> {
        // Boxed, so that the server is compiled in this crate, once: a plain future is compiled again in each crate
        // that awaits it.
        Box::pin(self.run(listener, shutdown))
    }

    async fn run(self, listener: TcpListener, shutdown: CancellationToken) {
        let app = self.app;
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                accepted = listener.accept() => match accepted {
                    Ok((stream, peer)) => {
                        if let Err(error) = stream.set_nodelay(true) {
                            tracing::debug!(%peer, %error, "cannot switch off Nagle's algorithm");
                        }
                        connections.spawn(connection(Arc::clone(&app), stream, peer, shutdown.clone()));
                    }
                    Err(error) => {
                        // Usually too many open files; taking a breath lets some close.
                        tracing::warn!(%error, "cannot take a connection");
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                },
                Some(_) = connections.join_next() => {}
            }
        }
        app.stop.cancel();
        drop(listener);
        let ended = tokio::time::timeout(GRACE, async {
            while connections.join_next().await.is_some() {}
        })
        .await;
        if ended.is_err() {
            connections.shutdown().await;
        }
        // With their connections gone, those who write to them end as well.
        app.tasks.close();
        if tokio::time::timeout(GRACE, app.tasks.wait()).await.is_err() {
            tracing::warn!("an answer is still being written");
        }
        // The last of the threads' work is done and the file closed when this returns.
        let closed = tokio::task::spawn_blocking(move || drop(app)).await;
        if let Err(error) = closed {
            tracing::error!(%error, "the store did not close in order");
        }
    }
}

struct Prepared {
    uuid: String,
    secret: String,
}

/// Makes what a fresh server has: an identity, a secret for cookies, the system databases.
async fn prepare(store: &Store) -> Result<Prepared, Failure> {
    store
        .write(|writing| {
            for name in ["uuid", "secret"] {
                if storage::setting(writing.conn, name)?.is_none() {
                    storage::keep_setting(
                        writing,
                        name,
                        &uuid::Uuid::new_v4().simple().to_string(),
                    )?;
                    if name == "secret" {
                        for system in ["_users", "_replicator"] {
                            let new = storage::databases::NewDatabase {
                                name: system.to_owned(),
                                shards: 2,
                                partitioned: false,
                                now: root::now(),
                            };
                            storage::databases::create(writing, &new)?;
                        }
                    }
                }
            }
            let value = |name| storage::setting(writing.conn, name).map(Option::unwrap_or_default);
            Ok(Prepared {
                uuid: value("uuid")?,
                secret: value("secret")?,
            })
        })
        .await
}

async fn connection(
    app: Arc<App>,
    stream: tokio::net::TcpStream,
    peer: SocketAddr,
    shutdown: CancellationToken,
) {
    let service = service_fn(move |request| respond(Arc::clone(&app), request));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .keep_alive(true)
        // Clients keep idle connections and would meet their end when they use them again.
        .header_read_timeout(None)
        .title_case_headers(true)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(served);
    let result = tokio::select! {
        result = served.as_mut() => result,
        () = shutdown.cancelled() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%peer, %error, "a connection ended early");
    }
}

/// Answers one request. An error here drops the connection without an answer.
async fn respond(app: Arc<App>, request: Request<Incoming>) -> Result<Response<Body>, io::Error> {
    app.requests.fetch_add(1, Ordering::Relaxed);
    let head_only = request.method() == Method::HEAD;
    let call = match read(request).await {
        Ok(call) => call,
        Err(failure) => return Ok(Answer::failure(&failure).finish(None)),
    };
    let outcome = match &app.faults {
        Some(faults) => faults.strike(&call.method, &call.raw_path).await,
        None => Outcome::Normal,
    };
    let answer = match outcome {
        Outcome::Normal => answer(&app, &call).await,
        Outcome::Drop => return Err(dropped()),
        Outcome::DropAfter => {
            answer(&app, &call).await;
            return Err(dropped());
        }
        Outcome::Fail => Answer::failure(&Failure::internal("a fault on command")),
        Outcome::Unheard => Answer::failure(&Failure::no_database()),
        Outcome::Race(race) => match race::lost_race(&app, &call, &race).await {
            Ok(answer) => answer,
            Err(failure) => Answer::failure(&failure),
        },
    };
    let mut response = answer.finish(Some(&call));
    if head_only && matches!(response.body(), Body::Pieces(_)) {
        *response.body_mut() = Body::full(Bytes::new());
    }
    tracing::trace!(method = %call.method, path = %call.raw_path, status = response.status().as_u16(), "answered");
    Ok(response)
}

fn dropped() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "dropped on command")
}

async fn answer(app: &Arc<App>, call: &Call) -> Answer {
    match route::route(app, call).await {
        Ok(answer) => answer,
        Err(failure) => Answer::failure(&failure),
    }
}

async fn read(request: Request<Incoming>) -> Result<Call, Failure> {
    let (parts, mut incoming) = request.into_parts();
    let raw_path = parts.uri.path().to_owned();
    let path = raw_path
        .split('/')
        .skip(1)
        .map(|segment| {
            decode(segment).ok_or_else(|| Failure::bad_request("invalid UTF-8 in the path"))
        })
        .collect::<Result<Vec<_>, _>>()?;
    let query = Query::parse(parts.uri.query().unwrap_or_default())?;
    let mut body = BytesMut::new();
    while let Some(frame) = incoming.frame().await {
        let frame = frame.map_err(|_| Failure::bad_request("the request ended early"))?;
        if let Ok(data) = frame.into_data() {
            if body.len() + data.len() > MAX_REQUEST {
                return Err(Failure::new(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    "too_large",
                    "the request entity is too large",
                ));
            }
            body.extend_from_slice(&data);
        }
    }
    Ok(Call {
        method: parts.method,
        path,
        raw_path,
        query,
        headers: parts.headers,
        body: body.freeze(),
    })
}
