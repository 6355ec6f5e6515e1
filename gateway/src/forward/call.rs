//! The two directions of a forwarded call: upload to the service, download to the caller.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use futures::future::poll_immediate;
use h2::{Reason, SendStream};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::time::Sleep;
use tonic::{Code, Status};

use super::{
    active::{Exchange, Running, Stream},
    arrival::SMALL,
    limits,
};
use crate::refusal::Refusal;

/// Sends the rest of the caller's body, until all is sent, the service needs no more of it, or the call is over.
/// Dropping the stream before its end resets the call at the service.
pub(super) async fn upload(
    mut rest: Incoming,
    mut stream: SendStream<Bytes>,
    exchange: Arc<Exchange>,
) {
    let sending = async {
        let mut next = None;
        loop {
            exchange.is_unsent(true);
            let frame = match next.take() {
                Some(frame) => frame,
                None => tokio::select! {
                    frame = rest.frame() => frame,
                    _reset = poll_fn(|cx| stream.poll_reset(cx)) => return Ok(()),
                },
            };
            exchange.is_unsent(false);
            exchange.has_arrived();
            let sent = match frame {
                None => stream.send_data(Bytes::new(), true).map(|()| true),
                Some(Err(error)) => return Err(reason(&error)),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => {
                        let data = gather(data, &mut rest, &mut next).await;
                        let is_last = next.is_none() && rest.is_end_stream();
                        send(data, is_last, &mut stream).await
                    }
                    Err(frame) => match frame.into_trailers() {
                        Ok(trailers) => stream.send_trailers(trailers).map(|()| true),
                        Err(_other) => Ok(false),
                    },
                },
            };
            match sent {
                Ok(false) => {}
                Ok(true) | Err(_) => return Ok(()),
            }
        }
    };
    let sent = tokio::select! {
        biased;
        () = exchange.over() => return,
        sent = sending => sent,
    };
    if let Err(reason) = sent {
        stream.send_reset(reason);
    }
    // A service may answer before it has read everything; then the stream ends with the call.
    exchange.is_unsent(false);
    exchange.over().await;
}

/// How much is gathered, in bytes.
const GATHERED: usize = 16 * 1024;

/// Adds what has arrived to a small piece: services close a connection on which too many small pieces wait. What cannot be
/// added becomes `next`.
async fn gather(
    first: Bytes,
    rest: &mut Incoming,
    next: &mut Option<Option<Result<Frame<Bytes>, hyper::Error>>>,
) -> Bytes {
    if first.len() >= SMALL || rest.is_end_stream() {
        return first;
    }
    let mut gathered = BytesMut::new();
    while gathered.len() < GATHERED && !rest.is_end_stream() {
        match poll_immediate(rest.frame()).await {
            None => break,
            Some(Some(Ok(frame))) if frame.is_data() => {
                if gathered.is_empty() {
                    gathered.extend_from_slice(&first);
                }
                gathered.extend_from_slice(&frame.into_data().unwrap_or_default());
            }
            Some(other) => {
                *next = Some(other);
                break;
            }
        }
    }
    if gathered.is_empty() {
        first
    } else {
        gathered.freeze()
    }
}

/// Sends `data` within the service's flow-control window. Until it is sent, no more is read from the caller.
/// Returns whether the stream was ended.
async fn send(
    mut data: Bytes,
    last: bool,
    stream: &mut SendStream<Bytes>,
) -> Result<bool, h2::Error> {
    loop {
        let room = if data.is_empty() {
            0
        } else {
            stream.reserve_capacity(data.len());
            match poll_fn(|cx| stream.poll_capacity(cx)).await {
                Some(room) => room?.min(data.len()),
                None => return Ok(true),
            }
        };
        if room == 0 && !data.is_empty() {
            continue;
        }
        let piece = data.split_to(room);
        let end = last && data.is_empty();
        if end || !piece.is_empty() {
            stream.send_data(piece, end)?;
        }
        if data.is_empty() {
            return Ok(last);
        }
    }
}

fn reason(error: &hyper::Error) -> Reason {
    std::error::Error::source(error)
        .and_then(|source| source.downcast_ref::<h2::Error>())
        .and_then(h2::Error::reason)
        .unwrap_or(Reason::CANCEL)
}

/// Whether the error shows that the service has not processed the call: a service that shuts down announces the
/// last call that it processes, and `h2` gives this error to the later ones only (RFC 9113, section 6.8).
pub(super) fn was_not_processed(error: &h2::Error) -> bool {
    error.is_go_away() && error.is_remote() && error.reason() == Some(Reason::NO_ERROR)
}

/// The status code for a transport error, as gRPC over HTTP/2 maps them.
pub(super) fn code(error: &h2::Error) -> Code {
    if !error.is_reset() {
        return Code::Unavailable;
    }
    match error.reason() {
        Some(Reason::REFUSED_STREAM) => Code::Unavailable,
        Some(Reason::CANCEL) => Code::Cancelled,
        Some(Reason::ENHANCE_YOUR_CALM) => Code::ResourceExhausted,
        Some(Reason::INADEQUATE_SECURITY) => Code::PermissionDenied,
        _ => Code::Internal,
    }
}

/// The body of the service's response. It ends with a gRPC status even when the deadline passes or the
/// service goes away before. Dropping it ends the call.
pub(crate) struct Download {
    running: Option<Running>,
    late: Pin<Box<Sleep>>,
    data_ended: bool,
    is_whole: bool,
    service: &'static str,
}

impl Download {
    /// `is_whole` says that the response has no body.
    pub(super) fn new(
        running: Running,
        late: Pin<Box<Sleep>>,
        is_whole: bool,
        service: &'static str,
    ) -> Self {
        Self {
            running: (!is_whole).then_some(running),
            late,
            data_ended: false,
            is_whole,
            service,
        }
    }

    fn end(&mut self) {
        self.running = None;
        self.is_whole = true;
    }

    fn finish(&mut self, refusal: &Refusal) -> Frame<Bytes> {
        self.end();
        let status = Status::from(refusal);
        let mut trailers = HeaderMap::new();
        if status.add_header(&mut trailers).is_err() {
            trailers.insert(
                Status::GRPC_STATUS,
                http::HeaderValue::from(status.code() as i32),
            );
        }
        Frame::trailers(trailers)
    }
}

/// What the service has sent next.
enum Next {
    Data(Bytes),
    Trailers(HeaderMap),
    End,
}

fn poll_next(
    stream: &mut Stream,
    data_ended: &mut bool,
    cx: &mut Context<'_>,
) -> Poll<Result<Next, h2::Error>> {
    let Stream::Grpc(stream) = stream else {
        return Poll::Ready(Ok(Next::End));
    };
    if !*data_ended {
        match stream.poll_data(cx) {
            Poll::Ready(Some(Ok(data))) => {
                stream.flow_control().release_capacity(data.len())?;
                return Poll::Ready(Ok(Next::Data(data)));
            }
            Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error)),
            Poll::Ready(None) => *data_ended = true,
            Poll::Pending => return Poll::Pending,
        }
    }
    stream
        .poll_trailers(cx)
        .map(|trailers| Ok(trailers?.map_or(Next::End, Next::Trailers)))
}

impl Body for Download {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        let Some(running) = &this.running else {
            return Poll::Ready(None);
        };
        let exchange = Arc::clone(running.exchange());
        let data_ended = &mut this.data_ended;
        let waker = cx.waker().clone();
        let next = exchange.with_stream(&waker, |stream| poll_next(stream, data_ended, cx));
        let refusal = match next {
            Ok(Poll::Ready(Ok(Next::Data(data)))) => {
                exchange.is_unread(true);
                exchange.has_answered();
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
            Ok(Poll::Ready(Ok(Next::Trailers(mut trailers)))) => {
                if limits::shorten(&mut trailers) {
                    this.end();
                    return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
                }
                Refusal::BrokenOff {
                    service: this.service,
                    code: Code::Internal,
                }
            }
            Ok(Poll::Ready(Ok(Next::End))) => {
                this.end();
                return Poll::Ready(None);
            }
            Ok(Poll::Ready(Err(error))) => {
                tracing::debug!(%error, service = this.service, "a call broke off");
                Refusal::BrokenOff {
                    service: this.service,
                    code: code(&error),
                }
            }
            Ok(Poll::Pending) => {
                exchange.is_unread(false);
                if this.late.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                Refusal::DeadlineExceeded
            }
            Err(why) => why.map_or(Refusal::DeadlineExceeded, Refusal::from),
        };
        Poll::Ready(Some(Ok(this.finish(&refusal))))
    }

    /// A response without data has to say so in its head; otherwise callers wait for trailers.
    fn is_end_stream(&self) -> bool {
        self.is_whole
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
