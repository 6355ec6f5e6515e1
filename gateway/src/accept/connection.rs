//! One connection: its protocol, its requests, and its end.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
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
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::{
    Handler, Origin,
    opening::{Protocol, Replayed, protocol},
    places::{Busy, Entered, Place},
};
use crate::{
    answer::{Body, grpc::is_grpc},
    client::Client,
    http2::{KEEP_ALIVE_INTERVAL, KEEP_ALIVE_TIMEOUT, STREAM_WINDOW},
};

/// The same for all calls of a connection: sixteen times as much, so that one stalled call does not stop the
/// others.
const CONNECTION_WINDOW: u32 = 16 * STREAM_WINDOW;

/// Less than what services accept, to leave room for the gateway's own headers.
const MAX_HEADER_LIST: u32 = 12 * 1024;

/// The largest head on HTTP/1.1.
const MAX_HEAD: usize = 16 * 1024;

/// How long a connection may take to its first request, and on HTTP/1.1 each request head from its first byte.
const HEAD_WITHIN: Duration = Duration::from_secs(10);

/// How long a connection that is closed for being idle may take to end.
const GOODBYE_WITHIN: Duration = Duration::from_secs(2);

/// How connections are served.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    /// Calls at once on a connection.
    pub(super) streams: u32,
    /// How long it may be without requests.
    pub(super) idle: Duration,
}

/// Serves a connection until its end, or until its place is taken by another one.
pub(super) async fn serve<H: Handler, S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    socket: S,
    client: Client,
    handler: Arc<H>,
    entered: Entered,
    rules: Rules,
    shutdown: CancellationToken,
) {
    let place = Arc::clone(entered.place());
    let begun = tokio::select! {
        begun = timeout(HEAD_WITHIN, protocol(socket)) => begun,
        () = shutdown.cancelled() => return,
        () = place.evicted() => return,
    };
    let Ok(Ok((protocol, socket))) = begun else {
        return;
    };
    let serving = Serving {
        client,
        handler,
        place: Arc::clone(&place),
        rules,
        shutdown,
    };
    // Boxed: before its protocol is known, a connection is small.
    tokio::select! {
        () = Box::pin(serving.run(protocol, socket)) => {}
        () = place.evicted() => {}
    }
}

struct Serving<H> {
    client: Client,
    handler: Arc<H>,
    place: Arc<Place>,
    rules: Rules,
    shutdown: CancellationToken,
}

impl<H: Handler> Serving<H> {
    async fn run<S>(self, protocol: Protocol, socket: Replayed<S>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (client, handler, place) = (self.client, self.handler, Arc::clone(&self.place));
        let service = service_fn(move |request| {
            let handler = Arc::clone(&handler);
            let busy = place.begin();
            // Boxed: the future is large, and would be moved several times on its way into its task.
            Box::pin(async move {
                let response = observe(&*handler, request, client).await;
                Ok::<_, Infallible>(response.map(|body| Held { body, _busy: busy }))
            })
        });
        let idle = self.place.idle(HEAD_WITHIN, self.rules.idle);
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
                        timeout(GOODBYE_WITHIN, connection).await.unwrap_or(Ok(()))
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
            ),
            Protocol::Http2 => until_end!(
                http2::Builder::new(TokioExecutor::new())
                    .timer(TokioTimer::new())
                    .initial_stream_window_size(STREAM_WINDOW)
                    .initial_connection_window_size(CONNECTION_WINDOW)
                    .max_concurrent_streams(self.rules.streams)
                    .max_header_list_size(MAX_HEADER_LIST)
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

/// Handles a request within its span, and counts it.
async fn observe<H: Handler>(
    handler: &H,
    request: Request<Incoming>,
    client: Client,
) -> Response<Observed<Body>> {
    if is_grpc(request.headers()) {
        let call = Call::lean(request.uri().path(), request.headers());
        let origin = Origin {
            client,
            trace: call.trace().clone(),
        };
        let span = call.trace().span().clone();
        let response = handler.handle(request, &origin).instrument(span).await;
        return call.answer(response);
    }
    let trace = Trace::lean(H::HTTP_SPAN, request.headers());
    let span = trace.span().clone();
    let origin = Origin { client, trace };
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
