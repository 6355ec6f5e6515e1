//! The client of another service's replicas.
//!
//! Calls go to the replicas in turn. An unreachable replica is left out for a while, and a call that was
//! not sent to it goes to the next one. A call that may have arrived is not repeated: only its caller
//! knows whether that is safe.

mod address;
mod replicas;

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http::{HeaderMap, Request, Response, Uri, uri::Parts};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::sync::Mutex;
use tonic::{Code, Status, body::Body, service::interceptor::InterceptedService};

pub use self::{
    address::{AddressError, Addresses},
    replicas::{Replica, Replicas},
};
use crate::{
    caller::AttachKey,
    deadline::{self, TIMEOUT_HEADER},
    secret::Keyring,
    server::{CONNECTION_WINDOW, STREAM_WINDOW},
    socket::Socket,
    status::StatusBuilder,
    telemetry,
    tls::Tls,
};

/// How long connecting may take.
pub const CONNECT_WITHIN: Duration = Duration::from_secs(2);
/// With the timeout, this is how long a cut link goes unnoticed.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// A channel to another service that adds the cluster key to calls.
pub type Peer = InterceptedService<Channel, AttachKey>;

/// Why a service cannot be called.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An address cannot be used.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The key cannot be a header value.
    #[error("the cluster key may hold printable ASCII characters only")]
    Key,
}

/// The service at `addresses` (`http://host:port`, several separated by commas), without TLS.
/// Connections are made on demand. Every call needs a deadline of its own.
pub fn connect(addresses: &str, key: impl Into<Keyring>) -> Result<Peer, Error> {
    connect_over(None, addresses, key)
}

/// The same, over TLS if `tls` is set.
pub fn connect_over(
    tls: Option<Tls>,
    addresses: &str,
    key: impl Into<Keyring>,
) -> Result<Peer, Error> {
    let attach = AttachKey::new(key).ok_or(Error::Key)?;
    let addresses = Addresses::parse(addresses, tls.is_some())?;
    Ok(InterceptedService::new(
        Channel::new(addresses, tls),
        attach,
    ))
}

/// A channel to the replicas of a service. Clones share connections.
#[derive(Clone)]
pub struct Channel {
    replicas: Replicas<Connection>,
    tls: Option<Tls>,
    addresses: std::sync::Arc<str>,
}

/// The connection to one replica, made on demand.
#[derive(Default)]
struct Connection(Mutex<Option<SendRequest<Body>>>);

impl Channel {
    /// A channel to the replicas at `addresses`.
    #[must_use]
    pub fn new(addresses: Addresses, tls: Option<Tls>) -> Self {
        Self {
            addresses: addresses.to_string().into(),
            replicas: Replicas::new(addresses, Connection::default),
            tls,
        }
    }

    async fn send(self, mut request: Request<Body>) -> Result<Response<Body>, Status> {
        let mut tried = Vec::new();
        let mut closed = None;
        let mut why = None;
        loop {
            let Some(replica) = self.replicas.pick(&tried).await else {
                tracing::debug!(addresses = %self.addresses, error = why, "a service is out of reach");
                return Err(out_of_reach());
            };
            let mut connection = match self.connection(&replica).await {
                Ok(connection) => connection,
                Err(error) => {
                    replica.failed();
                    tried.push(replica.address());
                    why = Some(error.to_string());
                    continue;
                }
            };
            *request.uri_mut() = at(request.uri(), &replica, self.tls.is_some());
            match connection.try_send_request(request).await {
                Ok(response) => {
                    replica.worked();
                    return Ok(response.map(Body::new));
                }
                Err(mut error) => {
                    let Some(unsent) = error.take_message() else {
                        return Err(Status::from_error(error.into_error().into()));
                    };
                    // The connection was closed before the call. A new one to the same replica is tried once.
                    request = unsent;
                    replica.connections.0.lock().await.take();
                    if closed == Some(replica.address()) {
                        replica.failed();
                        tried.push(replica.address());
                    }
                    closed = Some(replica.address());
                }
            }
        }
    }

    async fn connection(&self, replica: &Replica<Connection>) -> io::Result<SendRequest<Body>> {
        // Held while connecting, so that waiting calls share the connection.
        let mut kept = replica.connections.0.lock().await;
        if let Some(connection) = kept.as_ref().filter(|kept| !kept.is_closed()) {
            return Ok(connection.clone());
        }
        let connecting = async {
            let socket =
                Socket::connect(replica.address(), replica.host(), self.tls.as_ref()).await?;
            http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .initial_stream_window_size(STREAM_WINDOW)
                .initial_connection_window_size(CONNECTION_WINDOW)
                .keep_alive_interval(KEEP_ALIVE_INTERVAL)
                .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
                .handshake(TokioIo::new(socket))
                .await
                .map_err(io::Error::other)
        };
        let (connection, driving) = tokio::time::timeout(CONNECT_WITHIN, connecting).await??;
        tokio::spawn(async move {
            if let Err(error) = driving.await {
                tracing::debug!(%error, "a connection to a service ended");
            }
        });
        *kept = Some(connection.clone());
        Ok(connection)
    }
}

impl std::fmt::Debug for Channel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Channel").field(&self.addresses).finish()
    }
}

impl tower::Service<Request<Body>> for Channel {
    type Response = Response<Body>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Status>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        telemetry::inject(request.headers_mut());
        let limit = limit(request.headers());
        let sending = self.clone().send(request);
        Box::pin(async move {
            match limit {
                None => sending.await,
                Some(limit) => tokio::time::timeout(limit, sending)
                    .await
                    .map_err(|_| too_late())?,
            }
        })
    }
}

/// How long the caller waits for the head of the response.
fn limit(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(TIMEOUT_HEADER)?.to_str().ok()?;
    deadline::parse(text).ok()
}

fn at(uri: &Uri, replica: &Replica<Connection>, tls: bool) -> Uri {
    let mut parts = Parts::default();
    parts.scheme = Some(if tls {
        http::uri::Scheme::HTTPS
    } else {
        http::uri::Scheme::HTTP
    });
    parts.authority = Some(replica.authority().clone());
    parts.path_and_query = uri.path_and_query().cloned();
    // Scheme, authority and path are valid, so the error cannot occur.
    Uri::from_parts(parts).unwrap_or_else(|_| uri.clone())
}

fn out_of_reach() -> Status {
    StatusBuilder::new(
        Code::Unavailable,
        "SERVICE_OUT_OF_REACH",
        "a service is out of reach; nothing was done, try again in a moment",
    )
    .build()
}

fn too_late() -> Status {
    StatusBuilder::new(
        Code::DeadlineExceeded,
        "DEADLINE_EXCEEDED",
        "a service took longer than it may; what it began may still be done",
    )
    .build()
}
