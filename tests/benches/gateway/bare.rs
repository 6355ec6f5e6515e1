//! The least that a proxy on hyper does: it hands heads and bodies through, and decides nothing.

use std::{
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Either;
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use crate::serve::{CONNECTION_WINDOW, Error, STREAM_WINDOW, serve};

/// As many connections as the gateway has to a service.
const CONNECTIONS: usize = 4;

/// Serves for as long as the benchmark runs.
pub(crate) fn run(listen: SocketAddr, upstream: SocketAddr) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let ways = Arc::new(Ways::open(upstream).await.expect("the upstream"));
        serve(listen, move |request| {
            let ways = Arc::clone(&ways);
            async move { ways.forward(request).await }
        })
        .await;
    });
}

/// The connections to the upstream.
struct Ways {
    upstream: SocketAddr,
    http2: Vec<http2::SendRequest<Incoming>>,
    next: AtomicUsize,
    idle: Idle,
}

type Idle = Arc<Mutex<Vec<http1::SendRequest<Incoming>>>>;

impl Ways {
    async fn open(upstream: SocketAddr) -> Result<Self, Error> {
        let mut http2 = Vec::new();
        for _ in 0..CONNECTIONS {
            let (sender, connection) = http2::Builder::new(TokioExecutor::new())
                .initial_stream_window_size(STREAM_WINDOW)
                .initial_connection_window_size(CONNECTION_WINDOW)
                .handshake(connect(upstream).await?)
                .await?;
            tokio::spawn(connection);
            http2.push(sender);
        }
        Ok(Self {
            upstream,
            http2,
            next: AtomicUsize::new(0),
            idle: Idle::default(),
        })
    }

    async fn forward(
        &self,
        request: Request<Incoming>,
    ) -> Result<Response<Either<Incoming, Lent>>, Error> {
        if request.version() != Version::HTTP_2 {
            let response = self.forward_http1(request).await?;
            return Ok(response.map(Either::Right));
        }
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % CONNECTIONS;
        let sender = self.http2.get(turn).expect("a connection");
        let response = sender.clone().send_request(request).await?;
        Ok(response.map(Either::Left))
    }

    async fn forward_http1(&self, request: Request<Incoming>) -> Result<Response<Lent>, Error> {
        let idle = lock(&self.idle).pop();
        let mut sender = match idle {
            Some(sender) => sender,
            None => {
                let (sender, connection) = http1::handshake(connect(self.upstream).await?).await?;
                tokio::spawn(connection);
                sender
            }
        };
        sender.ready().await?;
        let response = sender.send_request(request).await?;
        Ok(response.map(|body| Lent {
            body,
            sender: Some(sender),
            idle: Arc::clone(&self.idle),
        }))
    }
}

fn lock(
    idle: &Mutex<Vec<http1::SendRequest<Incoming>>>,
) -> std::sync::MutexGuard<'_, Vec<http1::SendRequest<Incoming>>> {
    idle.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn connect(upstream: SocketAddr) -> Result<TokioIo<TcpStream>, Error> {
    let stream = TcpStream::connect(upstream).await?;
    stream.set_nodelay(true)?;
    Ok(TokioIo::new(stream))
}

/// The body of a response. Its connection is idle again when it has gone.
struct Lent {
    body: Incoming,
    sender: Option<http1::SendRequest<Incoming>>,
    idle: Idle,
}

impl Body for Lent {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(sender) = self.sender.take().filter(|sender| !sender.is_closed()) {
            lock(&self.idle).push(sender);
        }
    }
}
