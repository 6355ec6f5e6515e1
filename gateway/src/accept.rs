//! The connections of a door: HTTP/1.1 and HTTP/2 on one port, and their graceful shutdown.

use std::{convert::Infallible, io, sync::Arc, time::Duration};

use http::{Request, Response};
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{Instant, sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use service_kit::telemetry::{self, Call, Observed};
use tracing::Instrument as _;

use crate::{
    Config,
    answer::{Body, grpc::is_grpc},
    http2::{KEEP_ALIVE_INTERVAL, KEEP_ALIVE_TIMEOUT, STREAM_WINDOW},
};

/// The same for all calls of a connection: sixteen times as much, so that one stalled call does not stop the
/// others.
const CONNECTION_WINDOW: u32 = 16 * STREAM_WINDOW;
/// Less than what services accept, to leave room for the gateway's own headers.
const MAX_HEADER_LIST: u32 = 12 * 1024;
/// How long a connection may take to send its first bytes, and on HTTP/1.1 each request head.
const HEAD_WITHIN: Duration = Duration::from_secs(10);
/// The connection preface of HTTP/2 (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Handles the requests of a door.
pub(crate) trait Handler: Send + Sync + 'static {
    /// The name of the door, for logs and metrics.
    const DOOR: &'static str;

    /// Answers one request.
    fn handle(&self, request: Request<Incoming>) -> impl Future<Output = Response<Body>> + Send;
}

/// Accepts the connections of one door.
pub(crate) struct Acceptor {
    listener: TcpListener,
    places: Arc<Semaphore>,
    streams: u32,
    drain: Duration,
    shutdown: CancellationToken,
}

enum Protocol {
    Http1,
    Http2,
}

impl Acceptor {
    pub(crate) fn new(config: &Config, listener: TcpListener, shutdown: CancellationToken) -> Self {
        Self {
            listener,
            places: Arc::new(Semaphore::new(config.connections)),
            streams: config.streams_per_connection,
            drain: config.drain,
            shutdown,
        }
    }

    /// Serves until shutdown, then waits for running requests for at most the drain time.
    pub(crate) async fn serve<H: Handler>(self, handler: Arc<H>) -> io::Result<()> {
        let connections = TaskTracker::new();
        let give_up = CancellationToken::new();
        loop {
            let accepted = tokio::select! {
                () = self.shutdown.cancelled() => break,
                accepted = self.accept() => accepted,
            };
            let (stream, place) = match accepted {
                Ok(accepted) => accepted,
                Err(error) if is_fatal(&error) => return Err(error),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    // Out of file descriptors, most likely: trying at once would only spin.
                    sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let serving = serve_connection(
                stream,
                Arc::clone(&handler),
                self.streams,
                self.shutdown.clone(),
            );
            let give_up = give_up.clone();
            connections.spawn(async move {
                tokio::select! {
                    () = serving => {}
                    () = give_up.cancelled() => {}
                }
                drop(place);
            });
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

    async fn accept(&self) -> io::Result<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
        let place = Arc::clone(&self.places)
            .acquire_owned()
            .await
            .map_err(io::Error::other)?;
        let (stream, _) = self.listener.accept().await?;
        Ok((stream, place))
    }
}

/// `accept` also reports errors of single connections; only a broken listener ends the server.
fn is_fatal(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::InvalidInput | io::ErrorKind::NotConnected
    )
}

async fn serve_connection<H: Handler>(
    stream: TcpStream,
    handler: Arc<H>,
    streams: u32,
    shutdown: CancellationToken,
) {
    let begun = tokio::select! {
        protocol = protocol(&stream) => protocol,
        () = shutdown.cancelled() => return,
    };
    let Ok(protocol) = begun else { return };
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection has gone");
        return;
    }
    let io = TokioIo::new(stream);
    let service = service_fn(move |request| {
        let handler = Arc::clone(&handler);
        async move { Ok::<_, Infallible>(observe(&*handler, request).await) }
    });
    let ended = match protocol {
        Protocol::Http1 => {
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_WITHIN)
                .max_buf_size(16 * 1024)
                .serve_connection(io, service);
            let mut connection = std::pin::pin!(connection);
            tokio::select! {
                ended = connection.as_mut() => ended,
                () = shutdown.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            }
        }
        Protocol::Http2 => {
            let connection = http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .initial_stream_window_size(STREAM_WINDOW)
                .initial_connection_window_size(CONNECTION_WINDOW)
                .max_concurrent_streams(streams)
                .max_header_list_size(MAX_HEADER_LIST)
                .keep_alive_interval(KEEP_ALIVE_INTERVAL)
                .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
                .serve_connection(io, service);
            let mut connection = std::pin::pin!(connection);
            tokio::select! {
                ended = connection.as_mut() => ended,
                () = shutdown.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended badly");
    }
}

/// Handles a request within its span, and counts it.
async fn observe<H: Handler>(handler: &H, request: Request<Incoming>) -> Response<Observed<Body>> {
    if is_grpc(request.headers()) {
        let call = Call::begin(request.uri().path(), request.headers());
        let span = call.span().clone();
        let response = handler.handle(request).instrument(span).await;
        return call.answer(response);
    }
    let name = format!("HTTP at the {} door", H::DOOR);
    let span = telemetry::request_span(&name, request.headers());
    let response = handler.handle(request).instrument(span).await;
    telemetry::page(H::DOOR, response.status());
    response.map(Observed::unobserved)
}

/// Detects the protocol from the first bytes, without consuming them.
async fn protocol(stream: &TcpStream) -> io::Result<Protocol> {
    let until = Instant::now() + HEAD_WITHIN;
    let mut seen = [0; PREFACE.len()];
    loop {
        let length = timeout(HEAD_WITHIN, stream.peek(&mut seen)).await??;
        let begin = seen.get(..length).unwrap_or_default();
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if !PREFACE.starts_with(begin) {
            return Ok(Protocol::Http1);
        }
        if length == PREFACE.len() {
            return Ok(Protocol::Http2);
        }
        if Instant::now() >= until {
            return Err(io::ErrorKind::TimedOut.into());
        }
        // Peeking again would return at once; a preface in pieces is rare.
        sleep(Duration::from_millis(5)).await;
    }
}
