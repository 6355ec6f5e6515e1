//! One connection: its protocol, its requests, and its end.

use std::{
    convert::Infallible,
    io,
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use service_kit::telemetry::{self, Call, Observed, Trace};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::{
    Handler, Origin,
    opening::{Protocol, Replayed, protocol},
    places::{Busy, Connection},
};
use crate::{
    answer::{Body, grpc::is_grpc},
    certificates::Certificates,
    http2::{KEEP_ALIVE_INTERVAL, KEEP_ALIVE_TIMEOUT, STREAM_WINDOW},
    proxied::{LastLines, Peer, Scheme, TrustedProxies, protocol::read_header},
};

/// The same for all calls of a connection: sixteen times as much, so that one stalled call does not stop the
/// others.
const CONNECTION_WINDOW: u32 = 16 * STREAM_WINDOW;

/// How much of a response may wait for its caller in the connection, in bytes.
const MAX_UNSENT: usize = 128 * 1024;

/// Less than what services accept, to leave room for the gateway's own headers.
const MAX_HEADER_LIST: u32 = 12 * 1024;

/// The largest head on HTTP/1.1.
const MAX_HEAD: usize = 16 * 1024;

/// How long a connection may take to its first request. Later ones on HTTP/1.1 may take as long as it may be idle.
const HEAD_WITHIN: Duration = Duration::from_secs(10);

/// How long a connection that is closed for being idle may take to end, after its last request.
const GOODBYE_WITHIN: Duration = Duration::from_secs(2);

/// How connections are served.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    /// Calls at once on a connection.
    pub(super) streams: u32,
    /// How long it may be without requests.
    pub(super) idle: Duration,
}

/// What a connection passes before its first request.
#[derive(Clone, Debug)]
pub(crate) struct Entrance {
    /// TLS of the door.
    pub(crate) certificates: Option<Certificates>,
    /// The proxies whose connections begin with a header of the PROXY protocol.
    pub(crate) with_header: TrustedProxies,
}

/// A connection that is served.
pub(super) struct Serving<H> {
    pub(super) handler: Arc<H>,
    pub(super) connection: Arc<Connection>,
    pub(super) rules: Rules,
    pub(super) shutdown: CancellationToken,
}

impl<H: Handler> Serving<H> {
    /// Serves a connection until its end, or until its place is taken by another one.
    pub(super) async fn begin(self, socket: TcpStream, address: IpAddr, entrance: &Entrance) {
        let place = Arc::clone(self.connection.place());
        let shutdown = self.shutdown.clone();
        let entering = timeout(HEAD_WITHIN, enter(socket, address, entrance));
        let entered = tokio::select! {
            entered = entering => entered,
            () = shutdown.cancelled() => return,
            () = place.evicted() => return,
        };
        let entered = match entered {
            Ok(Ok(entered)) => entered,
            Ok(Err(error)) => {
                tracing::debug!(%error, "a connection ended before its first request");
                return;
            }
            Err(_late) => return,
        };
        // Boxed: before its protocol is known, a connection is small.
        let serving: BoxFuture<'static, ()> = match entered {
            Begun::Plain(peer, protocol, socket) => Box::pin(self.run(peer, protocol, socket)),
            Begun::Tls(peer, protocol, socket) => Box::pin(self.run(peer, protocol, *socket)),
        };
        tokio::select! {
            () = serving => {}
            () = place.evicted() => {}
        }
    }

    async fn run<S>(self, peer: Peer, protocol: Protocol, socket: Replayed<S>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (handler, connection) = (self.handler, Arc::clone(&self.connection));
        let last_lines = Arc::<LastLines>::default();
        let service = service_fn(move |request| {
            let handler = Arc::clone(&handler);
            let last_lines = Arc::clone(&last_lines);
            let busy = connection.begin();
            let connection = Arc::clone(&connection);
            // Boxed: the future is large, and would be moved several times on its way into its task.
            Box::pin(async move {
                let response = observe(&*handler, request, peer, last_lines, connection).await;
                Ok::<_, Infallible>(response.map(|body| Held { body, _busy: busy }))
            })
        });
        let idle = self.connection.place().idle(HEAD_WITHIN, self.rules.idle);
        // Both protocols end alike: a goodbye, then what is at work.
        macro_rules! until_end {
            ($connection:expr) => {{
                let mut connection = std::pin::pin!($connection);
                tokio::select! {
                    ended = connection.as_mut() => ended,
                    () = self.shutdown.cancelled() => {
                        connection.as_mut().graceful_shutdown();
                        connection.await
                    }
                    () = idle => {
                        connection.as_mut().graceful_shutdown();
                        // What has begun meanwhile is answered.
                        tokio::select! {
                            ended = connection.as_mut() => ended,
                            () = self.connection.place().idle(GOODBYE_WITHIN, GOODBYE_WITHIN) => Ok(()),
                        }
                    }
                }
            }};
        }
        let io = TokioIo::new(socket);
        let ended = match protocol {
            Protocol::Http1 => until_end!(
                http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(self.rules.idle.max(HEAD_WITHIN))
                    // A client that has sent everything may close its half, and still gets its answer.
                    .half_close(true)
                    .max_buf_size(MAX_HEAD)
                    .serve_connection(io, service)
                    .with_upgrades()
            ),
            Protocol::Http2 => until_end!(
                http2::Builder::new(TokioExecutor::new())
                    .timer(TokioTimer::new())
                    .initial_stream_window_size(STREAM_WINDOW)
                    .initial_connection_window_size(CONNECTION_WINDOW)
                    .max_concurrent_streams(self.rules.streams)
                    .max_header_list_size(MAX_HEADER_LIST)
                    .max_send_buf_size(MAX_UNSENT)
                    .keep_alive_interval(KEEP_ALIVE_INTERVAL)
                    .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
                    .serve_connection(io, service)
            ),
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection ended badly");
        }
    }
}

/// A connection whose protocol is known.
enum Begun {
    Plain(Peer, Protocol, Replayed<TcpStream>),
    Tls(Peer, Protocol, Box<Replayed<TlsStream<TcpStream>>>),
}

/// Reads the header of a proxy, makes the handshake of TLS, and finds out the protocol.
async fn enter(
    mut socket: TcpStream,
    mut address: IpAddr,
    entrance: &Entrance,
) -> io::Result<Begun> {
    if entrance.with_header.contains(address) {
        let source = read_header(&mut socket).await.map_err(io::Error::other)?;
        address = source.map_or(address, |source| source.ip());
    }
    let peer = |scheme| Peer { address, scheme };
    let Some(certificates) = &entrance.certificates else {
        let (protocol, socket) = protocol(socket).await?;
        return Ok(Begun::Plain(peer(Scheme::Http), protocol, socket));
    };
    let socket = certificates.accept(socket).await?;
    let (protocol, socket) = protocol(socket).await?;
    Ok(Begun::Tls(peer(Scheme::Https), protocol, Box::new(socket)))
}

/// Handles a request within its span, and counts it.
async fn observe<H: Handler>(
    handler: &H,
    request: Request<Incoming>,
    peer: Peer,
    last_lines: Arc<LastLines>,
    connection: Arc<Connection>,
) -> Response<Observed<Body>> {
    if is_grpc(request.headers()) {
        let call = Call::lean(request.uri().path(), request.headers());
        let origin = Origin {
            peer,
            trace: call.trace().clone(),
            last_lines,
            connection,
        };
        let span = call.trace().span().clone();
        let response = handler.handle(request, &origin).instrument(span).await;
        return call.answer(response);
    }
    let trace = Trace::lean(H::HTTP_SPAN, request.headers());
    let span = trace.span().clone();
    let origin = Origin {
        peer,
        trace,
        last_lines,
        connection,
    };
    let response = handler.handle(request, &origin).instrument(span).await;
    telemetry::page(H::DOOR, response.status());
    response.map(Observed::unobserved)
}

/// The body of a response; its connection is busy until it is sent.
pub(super) struct Held<B> {
    body: B,
    _busy: Busy,
}

impl<B: http_body::Body<Data = Bytes> + Unpin> http_body::Body for Held<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
