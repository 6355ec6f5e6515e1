//! The server: connections, and the way from a request to its response.

use std::{
    io,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderMap, Method, Request, Response, header, request::Parts};
use hyper::body::Incoming;
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    app::App,
    auth::{Auth, Caller},
    body::Body,
    clock,
    config::Settings,
    connection, cors, race, receiving,
    receiving::{Held, Room},
    request::{ApiRequest, Query, decode},
    response::ApiResponse,
    route, session,
    view_update::Updating,
};
use crate::{
    Config, Error,
    api_error::ApiError,
    faults::Effect,
    javascript::Javascript,
    storage::{Store, databases, settings},
};

/// The most connections at once.
const MAX_CONNECTIONS: usize = 4096;

/// How long responses in progress may take at shutdown.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(2);

/// A server with an open store.
pub struct Server {
    app: Arc<App>,
}

impl Server {
    /// Opens the data folder, and creates it if it is missing.
    ///
    /// # Errors
    /// [`Error::InUse`] if another process has locked the folder, [`Error::NewerFormat`] if a newer version of
    /// the program wrote it.
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
            settings: Settings::load(&store)
                .await
                .map_err(|failure| Error::Prepare {
                    reason: failure.to_string(),
                })?,
            javascript: Javascript::new(config.javascript),
            updating: Updating::default(),
            room: Room::new(),
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

    /// The number of requests so far.
    pub fn requests(&self) -> u64 {
        self.app.requests.load(Ordering::Relaxed)
    }

    /// A function that returns the number of requests so far, also while the server serves.
    pub fn request_counter(&self) -> impl Fn() -> u64 + Send + Sync + Clone + 'static {
        let app = Arc::downgrade(&self.app);
        move || {
            app.upgrade()
                .map_or(0, |app| app.requests.load(Ordering::Relaxed))
        }
    }

    /// Serves until `shutdown` is cancelled. Then feeds end at once, and other responses in progress have two
    /// seconds to end. The data folder is unlocked when this function returns.
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
                accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                    Ok((stream, peer)) => {
                        if let Err(error) = stream.set_nodelay(true) {
                            tracing::debug!(%peer, %error, "cannot switch off Nagle's algorithm");
                        }
                        connections.spawn(connection::serve(Arc::clone(&app), stream, peer, shutdown.clone()));
                    }
                    Err(error) => {
                        // Usually the process has too many open files. A pause lets some of them close.
                        tracing::warn!(%error, "cannot take a connection");
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                },
                Some(_) = connections.join_next() => {}
            }
        }
        app.stop.cancel();
        drop(listener);
        let ended = tokio::time::timeout(SHUTDOWN_GRACE, async {
            while connections.join_next().await.is_some() {}
        })
        .await;
        if ended.is_err() {
            connections.shutdown().await;
        }
        // Tasks that stream a response end when its connection is closed.
        app.tasks.close();
        if tokio::time::timeout(SHUTDOWN_GRACE, app.tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!("a response is still being written");
        }
        // Dropping the store joins its threads and closes the file.
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

/// Ensures that the store has the id of the server, the secret of the cookies and the system databases.
async fn prepare(store: &Store) -> Result<Prepared, ApiError> {
    store
        .write_making_room(|transaction| {
            for name in ["uuid", "secret"] {
                if settings::get(transaction.conn, name)?.is_none() {
                    settings::set(
                        transaction,
                        name,
                        &uuid::Uuid::new_v4().simple().to_string(),
                    )?;
                    if name == "secret" {
                        for system in ["_users", "_replicator"] {
                            let new = databases::NewDatabase {
                                name: system.to_owned(),
                                shards: 2,
                                partitioned: false,
                                now: clock::now(),
                            };
                            databases::create(transaction, &new)?;
                        }
                    }
                }
            }
            let value = |name| settings::get(transaction.conn, name).map(Option::unwrap_or_default);
            Ok(Prepared {
                uuid: value("uuid")?,
                secret: value("secret")?,
            })
        })
        .await
}

/// The response to one request, and whether a known client sent it.
pub(super) async fn respond(
    app: Arc<App>,
    request: Request<Incoming>,
    peer: IpAddr,
) -> Result<(Response<Body>, bool), io::Error> {
    app.requests.fetch_add(1, Ordering::Relaxed);
    let allowed = cors::Allowed::of(&app.settings, request.headers());
    let (head, body) = request.into_parts();
    let mut is_known = false;
    let mut response = match read_head(head, peer) {
        Ok(mut request) => {
            let preflight = allowed.as_ref();
            if let Some(response) = preflight.and_then(|it| it.preflight(&app.settings, &request)) {
                return Ok((response, false));
            }
            let received = receive(&app, &mut request, body).await;
            is_known = request.caller.name.is_some();
            match received {
                Ok(()) => answer(&app, &mut request).await?,
                Err(failure) => ApiResponse::from_error(&failure).finish(Some(&request)),
            }
        }
        Err(failure) => {
            receiving::drain(body).await;
            ApiResponse::from_error(&failure).finish(None)
        }
    };
    if let Some(allowed) = allowed {
        allowed.mark(response.headers_mut());
    }
    Ok((response, is_known))
}

/// The response to a request, or what a fault on command makes of it.
async fn answer(app: &Arc<App>, request: &mut ApiRequest) -> Result<Response<Body>, io::Error> {
    let effect = match &app.faults {
        Some(faults) => faults.apply(&request.method, &request.raw_path).await,
        None => Effect::Normal,
    };
    let response = match effect {
        Effect::Normal => handle(app, request).await,
        Effect::Drop => return Err(dropped()),
        Effect::DropAfter => {
            handle(app, request).await;
            return Err(dropped());
        }
        Effect::Fail => ApiResponse::from_error(&ApiError::internal("a fault on command")),
        Effect::Unheard => ApiResponse::from_error(&ApiError::no_database()),
        Effect::Race(race) => match race::lost_race(app, request, &race).await {
            Ok(response) => response,
            Err(failure) => ApiResponse::from_error(&failure),
        },
    };
    let mut response = response.finish(Some(request));
    if request.method == Method::HEAD && matches!(response.body(), Body::Stream(_)) {
        *response.body_mut() = Body::full(Bytes::new());
    }
    tracing::trace!(method = %request.method, path = %request.raw_path, status = response.status().as_u16(), "answered");
    Ok(response)
}

fn dropped() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "dropped on command")
}

async fn handle(app: &Arc<App>, request: &mut ApiRequest) -> ApiResponse {
    let response = match route::route(app, request).await {
        Ok(response) => response,
        Err(failure) => ApiResponse::from_error(&failure),
    };
    session::renew(request, response)
}

/// The method that a POST stands for: some proxies let nothing else through.
fn overridden(method: Method, headers: &HeaderMap) -> Method {
    let named = headers
        .get("x-http-method-override")
        .filter(|_| method == Method::POST)
        .and_then(|name| Method::from_bytes(name.as_bytes()).ok());
    match named {
        Some(named) if ["GET", "PUT", "DELETE", "COPY"].contains(&named.as_str()) => named,
        _ => method,
    }
}

/// Authenticates the caller, and only then receives the body.
async fn receive(app: &App, request: &mut ApiRequest, body: Incoming) -> Result<(), ApiError> {
    match app.auth.caller(&app.store, request).await {
        Ok(caller) => request.caller = caller,
        Err(failure) => {
            // Who expects to be asked for the body has sent nothing yet.
            if !request.headers.contains_key(header::EXPECT) {
                receiving::drain(body).await;
            }
            return Err(failure);
        }
    }
    let is_known = request.caller.name.is_some();
    let received = app.room.receive(is_known, body).await?;
    request.sent_body = received.bytes;
    request.held = Arc::new(received.held);
    Ok(())
}

/// A request without its body.
fn read_head(parts: Parts, peer: IpAddr) -> Result<ApiRequest, ApiError> {
    let raw_path = parts.uri.path().to_owned();
    let path = raw_path
        .split('/')
        .filter(|segment| !segment.is_empty())
        .map(|segment| decode(segment).ok_or_else(|| ApiError::bad_request("invalid_url_encoding")))
        .collect::<Result<Vec<_>, _>>()?;
    let raw_query = parts.uri.query().unwrap_or_default().to_owned();
    let query = Query::parse(&raw_query)?;
    Ok(ApiRequest {
        method: overridden(parts.method, &parts.headers),
        path,
        raw_path,
        raw_query,
        query,
        headers: parts.headers,
        peer,
        caller: Caller::default(),
        sent_body: Bytes::new(),
        held: Arc::new(Held::default()),
    })
}
