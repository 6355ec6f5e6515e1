//! The connections of a door: HTTP/1.1 and HTTP/2 on one port, how many there may be, and their graceful shutdown.

mod connection;
mod frames;
mod opening;
mod places;
mod workers;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use http::{Request, Response};
use hyper::body::Incoming;
use rustix::net::sockopt;
use service_kit::telemetry::Trace;
use tokio::{
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub(crate) use self::{connection::Entrance, places::Connection, workers::Workers};
use self::{
    connection::{Rules, Serving},
    places::{PlaceLimits, Places},
};
use crate::{
    Config,
    answer::Body,
    caller::CallerKey,
    proxied::{LastLines, Peer},
    seldom::Seldom,
};

/// Where a request comes from.
pub(crate) struct Origin {
    /// What its connection shows.
    pub(crate) peer: Peer,
    pub(crate) trace: Trace,
    pub(crate) last_lines: Arc<LastLines>,
    pub(crate) connection: Arc<Connection>,
}

/// Handles the requests of a door. There is one for each thread.
pub(crate) trait Handler: Send + Sync + 'static {
    /// The name of the door, for logs and metrics.
    const DOOR: &'static str;

    /// The name of the spans of requests that are no gRPC.
    const HTTP_SPAN: &'static str;

    /// Answers one request.
    fn handle(
        &self,
        request: Request<Incoming>,
        origin: &Origin,
    ) -> impl Future<Output = Response<Body>> + Send;
}

/// Accepts the connections of one door.
pub(crate) struct Acceptor {
    listener: TcpListener,
    places: Arc<Places>,
    rules: Rules,
    entrance: Entrance,
    drain: Duration,
    shutdown: CancellationToken,
    refused: Seldom,
    failed: Seldom,
}

impl Acceptor {
    /// `connections` is how many the door may have.
    pub(crate) fn new<H: Handler>(
        config: &Config,
        connections: usize,
        entrance: Entrance,
        listener: TcpListener,
        shutdown: CancellationToken,
    ) -> Self {
        Self {
            listener,
            entrance,
            places: Arc::new(Places::new(
                H::DOOR,
                PlaceLimits {
                    all: connections,
                    // One client cannot have all places where there are few.
                    one: config
                        .limits
                        .connections_per_client
                        .min((connections / 3).max(1)),
                },
            )),
            rules: Rules {
                streams: config.limits.streams_per_connection,
                idle: config.limits.idle_timeout,
            },
            drain: config.limits.drain,
            shutdown,
            refused: Seldom::default(),
            failed: Seldom::default(),
        }
    }

    /// Serves until shutdown, then waits for running requests for at most the drain time. `handlers` holds one for each
    /// thread.
    pub(crate) async fn serve<H: Handler>(
        self,
        handlers: Vec<Arc<H>>,
        workers: &Workers,
    ) -> io::Result<()> {
        let connections = TaskTracker::new();
        let give_up = CancellationToken::new();
        loop {
            let accepted = tokio::select! {
                () = self.shutdown.cancelled() => break,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let begun =
                        self.begin(stream, peer, &handlers, workers, &connections, &give_up);
                    if let Err(error) = begun {
                        tracing::debug!(%error, "a connection has gone");
                    }
                }
                Err(error) if is_fatal(&error) => return Err(error),
                Err(error) => {
                    if let Some(unseen) = self.failed.now() {
                        tracing::warn!(%error, unseen, "cannot accept a connection");
                    }
                    // Out of file descriptors, most likely: an idle connection makes room.
                    self.places.make_room();
                    sleep(Duration::from_millis(10)).await;
                }
            }
        }
        drop(self.listener);
        connections.close();
        if timeout(self.drain, connections.wait()).await.is_err() {
            tracing::warn!(connections = connections.len(), "calls did not end in time");
            give_up.cancel();
            connections.wait().await;
        }
        Ok(())
    }

    /// Hands a connection to the thread with the fewest.
    fn begin<H: Handler>(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        handlers: &[Arc<H>],
        workers: &Workers,
        connections: &TaskTracker,
        give_up: &CancellationToken,
    ) -> io::Result<()> {
        let Some(entered) = self.places.enter(CallerKey::of(peer.ip())) else {
            if let Some(unseen) = self.refused.now() {
                tracing::warn!(door = H::DOOR, client = %peer.ip(), unseen, "a connection was refused: all are busy");
            }
            return Ok(());
        };
        let Some((number, runtime, counted)) = workers.pick() else {
            return Ok(());
        };
        let Some(handler) = handlers.get(number).map(Arc::clone) else {
            return Ok(());
        };
        stream.set_nodelay(true)?;
        keep_alive(&stream)?;
        let stream = stream.into_std()?;
        let (rules, shutdown, give_up) = (self.rules, self.shutdown.clone(), give_up.clone());
        let entrance = self.entrance.clone();
        let serving = async move {
            let serving = async {
                match TcpStream::from_std(stream) {
                    Ok(stream) => {
                        let serving = Serving {
                            handler,
                            connection: Arc::new(entered),
                            rules,
                            shutdown,
                        };
                        serving.begin(stream, peer.ip(), &entrance).await;
                    }
                    Err(error) => tracing::debug!(%error, "a connection cannot be served"),
                }
            };
            tokio::select! {
                () = serving => {}
                () = give_up.cancelled() => {}
            }
            drop(counted);
        };
        connections.spawn_on(serving, runtime);
        Ok(())
    }
}

/// How long a silent link may be before the system asks whether the client is there, how often it asks, and how many times.
/// A client that went without a word is noticed so on HTTP/1.1, which has no pings.
const SILENT: Duration = Duration::from_secs(60);
const ASK_EVERY: Duration = Duration::from_secs(10);
const ASK_TIMES: u32 = 3;

fn keep_alive(stream: &TcpStream) -> io::Result<()> {
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, SILENT)?;
    sockopt::set_tcp_keepintvl(stream, ASK_EVERY)?;
    sockopt::set_tcp_keepcnt(stream, ASK_TIMES)?;
    Ok(())
}

/// `accept` also reports errors of single connections; only a broken listener ends the server.
fn is_fatal(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::InvalidInput | io::ErrorKind::NotConnected
    )
}
