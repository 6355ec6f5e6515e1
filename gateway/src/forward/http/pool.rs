//! The connections to the replicas of a service, each for one request at a time.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http::{Request, Response};
use hyper::{
    body::Incoming,
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use service_kit::{
    peer::{Addresses, CONNECT_WITHIN, Replica, Replicas},
    socket::Socket,
    telemetry::InUse,
    tls::Tls,
};
use tokio::time::{Instant, timeout};

use super::upload::Upload;
use crate::forward::backend;

/// The most connections that are kept for later at each replica.
const KEPT: usize = 64;

/// How long one is kept.
const KEPT_FOR: Duration = Duration::from_secs(30);

/// Connections to the replicas of one service, each for one request at a time.
pub(in crate::forward) struct HttpUpstream {
    replicas: Replicas<Idle>,
    tls: Option<Tls>,
}

/// The connections to one replica that nobody uses now.
#[derive(Default)]
struct Idle(Mutex<Vec<(SendRequest<Upload>, Instant)>>);

impl Idle {
    fn take(&self) -> Option<SendRequest<Upload>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some((sender, since)) = kept.pop() {
            if sender.is_ready() && since.elapsed() < KEPT_FOR {
                return Some(sender);
            }
        }
        None
    }

    fn keep(&self, sender: SendRequest<Upload>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(sender, since)| !sender.is_closed() && since.elapsed() < KEPT_FOR);
        if kept.len() < KEPT {
            kept.push((sender, Instant::now()));
        }
    }
}

/// A connection while its request is at work.
pub(in crate::forward) struct ServiceLease {
    sender: SendRequest<Upload>,
    replica: Arc<Replica<Idle>>,
}

impl ServiceLease {
    /// Keeps the connection for another request, once it is ready for one.
    fn end(mut self) {
        if self.sender.is_ready() {
            self.replica.connections.keep(self.sender);
            return;
        }
        tokio::spawn(async move {
            if self.sender.ready().await.is_ok() {
                self.replica.connections.keep(self.sender);
            }
        });
    }
}

/// A connection to a service or a backend while its request is at work.
pub(super) enum Lease {
    Service(ServiceLease),
    Backend(backend::Lease),
}

impl Lease {
    /// Counts the connection as a tunnel, where these are counted.
    pub(super) fn becomes_tunnel(&self) -> Option<InUse> {
        match self {
            Self::Service(_) => None,
            Self::Backend(lease) => Some(lease.becomes_tunnel()),
        }
    }

    /// Keeps the connection for another request, once it is ready for one.
    pub(super) fn end(self) {
        match self {
            Self::Service(lease) => lease.end(),
            Self::Backend(lease) => lease.end(),
        }
    }
}

impl HttpUpstream {
    pub(in crate::forward) fn new(addresses: Addresses, tls: Option<Tls>) -> Self {
        Self {
            replicas: Replicas::new(addresses, Idle::default),
            tls,
        }
    }

    /// Sends a request to a replica that can be reached. It is sent again only if it never left.
    pub(super) async fn send(
        &self,
        mut request: Request<Upload>,
    ) -> Result<(Response<Incoming>, ServiceLease), SendError> {
        let mut tried = Vec::new();
        let mut failure = SendError::Connect(io::ErrorKind::NotFound.into());
        while let Some(replica) = self.replicas.pick(&tried).await {
            loop {
                let (mut sender, is_new) = match replica.connections.take() {
                    Some(sender) => (sender, false),
                    None => match timeout(CONNECT_WITHIN, self.connect(&replica)).await {
                        Ok(Ok(sender)) => (sender, true),
                        Ok(Err(error)) => {
                            failure = SendError::Connect(error);
                            break;
                        }
                        Err(_late) => {
                            failure = SendError::Connect(io::ErrorKind::TimedOut.into());
                            break;
                        }
                    },
                };
                match sender.try_send_request(request).await {
                    Ok(response) => {
                        replica.worked();
                        return Ok((response, ServiceLease { sender, replica }));
                    }
                    Err(mut error) => match error.take_message() {
                        Some(unsent) => {
                            request = unsent;
                            failure = SendError::Broken(error.into_error());
                            if is_new {
                                break;
                            }
                        }
                        None => return Err(SendError::Broken(error.into_error())),
                    },
                }
            }
            replica.failed();
            tried.push(replica.address());
        }
        Err(failure)
    }

    async fn connect(&self, replica: &Replica<Idle>) -> io::Result<SendRequest<Upload>> {
        let socket = Socket::connect(replica.address(), replica.host(), self.tls.as_ref()).await?;
        let (mut sender, connection) = http1::Builder::new()
            .preserve_header_case(false)
            .handshake(TokioIo::new(socket))
            .await
            .map_err(io::Error::other)?;
        tokio::spawn(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "a connection to a service ended");
            }
        });
        sender.ready().await.map_err(io::Error::other)?;
        Ok(sender)
    }
}

/// Why a request got no response.
#[derive(Debug, thiserror::Error)]
pub(in crate::forward) enum SendError {
    #[error("cannot connect: {0}")]
    Connect(#[source] io::Error),
    #[error("the connection broke off: {0}")]
    Broken(#[source] hyper::Error),
    #[error("all connections that it may have are at work")]
    Busy,
}
