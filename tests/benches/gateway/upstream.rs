//! What is behind the proxies: every gRPC method echoes, every page has as many bytes as its path says.

use std::{
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{BufMut as _, Bytes, BytesMut};
use hamlet_proto::hamlet::instance::v1::{Backend, ResolveHostRequest};
use http::{HeaderMap, HeaderValue, Request, Response, header::CONTENT_TYPE};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use prost::Message as _;
use test_kit::fake::active_instance;

use crate::serve::{Error, serve};

/// The method whose call stays open: each piece goes back as it comes.
pub(crate) const STREAM_PATH: &str = "/hamlet.files.v1.FilesService/Stream";
/// The method that answers after the whole request.
pub(crate) const UNARY_PATH: &str = "/hamlet.files.v1.FilesService/ListChildren";

/// The length of what precedes each message of gRPC: a byte for compression, and the length.
pub(crate) const PREFIX: usize = 5;

/// Serves for as long as the benchmark runs.
pub(crate) fn run(listen: SocketAddr) {
    // One thread: on a machine with few cores, the proxies need the others.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(serve(listen, move |request| answer(request, listen)));
}

async fn answer(request: Request<Incoming>, own: SocketAddr) -> Result<Response<Answer>, Error> {
    let path = request.uri().path();
    if path == "/status" {
        return Ok(Response::new(Answer::Page(Full::default())));
    }
    if let Some(bytes) = path.strip_prefix("/bytes/") {
        let page = Bytes::from(vec![b'x'; bytes.parse()?]);
        return Ok(Response::new(Answer::Page(Full::new(page))));
    }
    let path = path.to_owned();
    let body = request.into_body();
    let answer = if path == STREAM_PATH {
        Answer::Echo(body)
    } else {
        let asked = body.collect().await?.to_bytes();
        Answer::Unary(Some(match path.as_str() {
            // The field `status` with the value SERVING.
            "/grpc.health.v1.Health/Check" => framed(&[8, 1]),
            "/hamlet.instance.v1.DirectoryService/ResolveHost" => {
                let message = asked.get(PREFIX..).unwrap_or_default();
                let ResolveHostRequest { host } = ResolveHostRequest::decode(message)?;
                let mut instance = active_instance(&host);
                // Pages come from here, too: this is the backend of every instance.
                instance.backend = Some(Backend {
                    addresses: vec![format!("http://{own}")],
                    own: Vec::new(),
                });
                framed(&instance.encode_to_vec())
            }
            _ => asked,
        }))
    };
    let mut response = Response::new(answer);
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    Ok(response)
}

/// A message as gRPC sends it, not compressed.
pub(crate) fn framed(message: &[u8]) -> Bytes {
    let mut framed = BytesMut::with_capacity(PREFIX + message.len());
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).expect("a short message"));
    framed.put_slice(message);
    framed.freeze()
}

enum Answer {
    Page(Full<Bytes>),
    /// A message that is still to be sent, then the trailers.
    Unary(Option<Bytes>),
    /// The request's body, piece by piece, then the trailers.
    Echo(Incoming),
    Ended,
}

impl Answer {
    fn end(&mut self) -> Frame<Bytes> {
        *self = Self::Ended;
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        Frame::trailers(trailers)
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match &mut *self {
            Self::Page(page) => Pin::new(page)
                .poll_frame(cx)
                .map_err(|never| match never {}),
            Self::Ended => Poll::Ready(None),
            Self::Unary(message) => {
                let frame = match message.take() {
                    Some(message) => Frame::data(message),
                    None => self.end(),
                };
                Poll::Ready(Some(Ok(frame)))
            }
            Self::Echo(request) => {
                let frame = ready!(Pin::new(request).poll_frame(cx)).transpose()?;
                let data = frame.filter(Frame::is_data);
                Poll::Ready(Some(Ok(data.unwrap_or_else(|| self.end()))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Page(page) => page.is_end_stream(),
            Self::Ended => true,
            Self::Unary(_) | Self::Echo(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Page(page) => page.size_hint(),
            _ => SizeHint::default(),
        }
    }
}
