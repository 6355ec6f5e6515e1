//! The connections of the upstream and of the bare proxy: HTTP/1.1 and HTTP/2 on one port.

use std::{
    io::{self, Read as _},
    net::SocketAddr,
    thread,
};

use http::{Request, Response};
use http_body::Body;
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};

/// The window of one call, as the gateway and the services have it.
pub(crate) const STREAM_WINDOW: u32 = 128 * 1024;
/// The window of a connection.
pub(crate) const CONNECTION_WINDOW: u32 = 16 * STREAM_WINDOW;
/// How many calls one connection carries at once.
pub(crate) const STREAMS: u32 = 128;

pub(crate) type Error = Box<dyn std::error::Error + Send + Sync>;

/// Serves until the process that started this one is gone.
pub(crate) async fn serve<H, F, B>(listen: SocketAddr, handle: H)
where
    H: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<Response<B>, Error>> + Send + 'static,
    B: Body<Error: Into<Error>, Data: Send> + Send + 'static,
{
    thread::spawn(|| {
        // The other side of stdin is closed when the benchmark ends, even when it is killed.
        let _ = io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    let listener = TcpListener::bind(listen).await.expect("a free address");
    loop {
        let (stream, _) = listener.accept().await.expect("a connection");
        stream.set_nodelay(true).expect("no delay");
        let handle = handle.clone();
        tokio::spawn(async move {
            // A connection that breaks is the load's to notice.
            let _ = connection(stream, handle).await;
        });
    }
}

async fn connection<H, F, B>(stream: TcpStream, handle: H) -> Result<(), Error>
where
    H: Fn(Request<Incoming>) -> F + Send + Sync + 'static,
    F: Future<Output = Result<Response<B>, Error>> + Send + 'static,
    B: Body<Error: Into<Error>, Data: Send> + Send + 'static,
{
    // Both protocols begin with a method; only the preface of HTTP/2 begins with this letter and is no method in use.
    let mut first = [0; 3];
    stream.peek(&mut first).await?;
    let io = TokioIo::new(stream);
    let service = service_fn(handle);
    if first == *b"PRI" {
        http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_concurrent_streams(STREAMS)
            .serve_connection(io, service)
            .await?;
    } else {
        http1::Builder::new().serve_connection(io, service).await?;
    }
    Ok(())
}
