//! A service that speaks HTTP/1.1 and does what the path says.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::stream;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    body::{Frame, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    sync::mpsc,
};

type Answer = Response<UnsyncBoxBody<Bytes, std::io::Error>>;

/// The service.
pub(crate) struct Web {
    pub(crate) address: SocketAddr,
    /// How many connections it has taken.
    pub(crate) connections: Arc<AtomicUsize>,
    /// How many requests it has taken.
    pub(crate) requests: Arc<AtomicUsize>,
    /// What it went through.
    pub(crate) events: mpsc::UnboundedReceiver<&'static str>,
}

impl Web {
    pub(crate) async fn start() -> Self {
        Self::start_at(([127, 0, 0, 1], 0).into()).await
    }

    /// Starts at an address that is free.
    pub(crate) async fn start_at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, events) = mpsc::unbounded_channel();
        let connections = Arc::<AtomicUsize>::default();
        let taken = Arc::clone(&connections);
        let requests = Arc::<AtomicUsize>::default();
        let counted = Arc::clone(&requests);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                taken.fetch_add(1, Ordering::Relaxed);
                let sender = sender.clone();
                let counted = Arc::clone(&counted);
                let service = service_fn(move |request| {
                    let sender = sender.clone();
                    counted.fetch_add(1, Ordering::Relaxed);
                    async move { Ok::<_, Infallible>(answer(request, sender).await) }
                });
                tokio::spawn(async move {
                    http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .with_upgrades()
                        .await
                        .ok();
                });
            }
        });
        Self {
            address,
            connections,
            requests,
            events,
        }
    }
}

fn full(text: impl Into<Bytes>) -> UnsyncBoxBody<Bytes, std::io::Error> {
    Full::new(text.into())
        .map_err(|never| match never {})
        .boxed_unsync()
}

async fn answer(
    mut request: Request<Incoming>,
    events: mpsc::UnboundedSender<&'static str>,
) -> Answer {
    match request.uri().path() {
        "/files/headers" | "/instances/headers" => {
            let mut told = format!("{} {}\n", request.method(), request.uri());
            for (name, value) in request.headers() {
                told.push_str(&format!("{name}: {}\n", value.to_str().unwrap()));
            }
            let mut response = Response::new(full(told));
            let headers = response.headers_mut();
            headers.insert("x-hamlet-secret", HeaderValue::from_static("told"));
            headers.insert("keep-alive", HeaderValue::from_static("timeout=5"));
            headers.insert("x-plain", HeaderValue::from_static("kept"));
            response
        }
        "/files/echo" => {
            let body = request.into_body();
            Response::new(body.map_err(std::io::Error::other).boxed_unsync())
        }
        "/files/trailers" => {
            let mut trailers = HeaderMap::new();
            trailers.insert("x-sum", HeaderValue::from_static("7"));
            let frames = stream::iter([
                Ok(Frame::data(Bytes::from_static(b"body"))),
                Ok(Frame::trailers(trailers)),
            ]);
            let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
            response
                .headers_mut()
                .insert(header::TRAILER, HeaderValue::from_static("x-sum"));
            response
        }
        "/files/range" => {
            let range = request.headers()[header::RANGE].to_str().unwrap();
            assert_eq!(range, "bytes=2-4");
            let mut response = Response::new(full("cde"));
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            response.headers_mut().insert(
                header::CONTENT_RANGE,
                HeaderValue::from_static("bytes 2-4/26"),
            );
            response
        }
        "/files/events" => {
            let guard = Gone(events);
            let ticks = stream::unfold(guard, async |guard| {
                tokio::time::sleep(Duration::from_millis(20)).await;
                let tick = Frame::data(Bytes::from_static(b"data: tick\n\n"));
                Some((Ok::<_, std::io::Error>(tick), guard))
            });
            Response::new(StreamBody::new(ticks).boxed_unsync())
        }
        "/files/refuse" => {
            let mut response = Response::new(full("too much"));
            *response.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
            response
        }
        "/files/collect" => {
            let size = request.body_mut().collect().await.unwrap().to_bytes().len();
            Response::new(full(size.to_string()))
        }
        "/files/sink" => {
            let mut size = 0;
            while let Some(Ok(frame)) = request.body_mut().frame().await {
                size += frame.into_data().map_or(0, |data| data.len());
            }
            Response::new(full(size.to_string()))
        }
        "/files/flood" => {
            let size: usize = request.uri().query().unwrap().parse().unwrap();
            let piece = Bytes::from(vec![7; 64 * 1024]);
            let pieces = std::iter::repeat_n(piece, size / (64 * 1024));
            let frames = pieces.map(|piece| Ok(Frame::data(piece)));
            Response::new(StreamBody::new(stream::iter(frames)).boxed_unsync())
        }
        "/files/vanish" => {
            let frames = stream::unfold(true, async |is_first| {
                if is_first {
                    return Some((Ok(Frame::data(Bytes::from_static(b"begin"))), false));
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
                Some((Err(std::io::Error::other("gone")), false))
            });
            Response::new(StreamBody::new(frames).boxed_unsync())
        }
        "/files/socket" => {
            let upgrade = hyper::upgrade::on(&mut request);
            tokio::spawn(async move {
                let mut stream = TokioIo::new(upgrade.await.unwrap());
                let mut word = [0; 5];
                while stream.read_exact(&mut word).await.is_ok() {
                    stream.write_all(&word).await.unwrap();
                }
                events.send("the tunnel ended").ok();
            });
            let mut response = Response::new(full(""));
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            let headers = response.headers_mut();
            headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            response
        }
        _ => {
            let mut response = Response::new(full("nothing here"));
            *response.status_mut() = StatusCode::NOT_FOUND;
            response
        }
    }
}

/// Tells when a stream was dropped.
struct Gone(mpsc::UnboundedSender<&'static str>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.send("the stream was dropped").ok();
    }
}
