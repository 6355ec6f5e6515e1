//! The two directions of a forwarded call: upload to the service, download to the caller.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::future::poll_fn;
use h2::{Reason, RecvStream, SendStream};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::{CancellationToken, DropGuard, WaitForCancellationFutureOwned};
use tonic::{Code, Status};

use crate::refusal::Refusal;

/// The signals between the two directions of a call: `over` ends the upload, `late` says that the deadline
/// has passed.
pub(super) struct Signals {
    pub(super) over: CancellationToken,
    pub(super) late: CancellationToken,
}

/// How much of a caller's body is kept in order to send it again, in bytes. Most calls are one small message.
const KEPT: usize = 16 * 1024;

/// The body of a call on its way to the service.
pub(super) struct Upload {
    body: Incoming,
    /// What was read of the body; `None` when that is too much to keep, or contains trailers.
    read: Option<Vec<Bytes>>,
}

impl Upload {
    pub(super) const fn new(body: Incoming) -> Self {
        Self {
            body,
            read: Some(Vec::new()),
        }
    }

    /// Whether there is nothing to send after the head.
    pub(super) fn is_empty(&self) -> bool {
        self.body.is_end_stream() && self.read.as_ref().is_some_and(Vec::is_empty)
    }

    /// Whether the whole body can be sent to another connection.
    pub(super) const fn can_be_repeated(&self) -> bool {
        self.read.is_some()
    }

    fn keep(&mut self, data: &Bytes) {
        if let Some(read) = &mut self.read {
            let size = data.len() + read.iter().map(Bytes::len).sum::<usize>();
            if size <= KEPT {
                read.push(data.clone());
            } else {
                self.read = None;
            }
        }
    }

    /// Sends what was read before, then the rest. Succeeds when all is sent or the service needs no more of it;
    /// `Err` is the reason for which the caller reset the call.
    async fn send_to(&mut self, stream: &mut SendStream<Bytes>) -> Result<(), Reason> {
        let mut before = self.read.clone().unwrap_or_default().into_iter().peekable();
        while let Some(data) = before.next() {
            let last = before.peek().is_none() && self.body.is_end_stream();
            if !matches!(send(data, last, stream).await, Ok(false)) {
                return Ok(());
            }
        }
        loop {
            let frame = tokio::select! {
                frame = self.body.frame() => frame,
                _reset = poll_fn(|cx| stream.poll_reset(cx)) => return Ok(()),
            };
            let sent = match frame {
                None => stream.send_data(Bytes::new(), true).map(|()| true),
                Some(Err(error)) => return Err(reason(&error)),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => {
                        self.keep(&data);
                        send(data, self.body.is_end_stream(), stream).await
                    }
                    Err(frame) => match frame.into_trailers() {
                        Ok(trailers) => {
                            self.read = None;
                            stream.send_trailers(trailers).map(|()| true)
                        }
                        Err(_other) => Ok(false),
                    },
                },
            };
            match sent {
                Ok(false) => {}
                Ok(true) | Err(_) => return Ok(()),
            }
        }
    }
}

/// Uploads the caller's body, and resets the call at the service when the caller goes away or the deadline
/// passes, even while the upload is blocked. `turn` is held until the call is over. Both are returned then, for
/// a call that is sent again.
pub(super) async fn carry<T>(
    mut upload: Upload,
    mut stream: SendStream<Bytes>,
    signals: Signals,
    deadline: Instant,
    turn: T,
) -> (Upload, T) {
    let ended = upload.is_empty();
    let sending = async {
        if !ended && let Err(reason) = upload.send_to(&mut stream).await {
            stream.send_reset(reason);
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        biased;
        () = signals.over.cancelled() => {}
        () = sleep_until(deadline) => signals.late.cancel(),
        () = sending => {}
    }
    // Does nothing when the call is complete.
    stream.send_reset(Reason::CANCEL);
    (upload, turn)
}

/// Whether the error shows that the service has not processed the call: a service that shuts down announces the
/// last call that it processes, and `h2` gives this error to the later ones only (RFC 9113, section 6.8).
pub(super) fn was_not_processed(error: &h2::Error) -> bool {
    error.is_go_away() && error.is_remote() && error.reason() == Some(Reason::NO_ERROR)
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
    stream: Option<RecvStream>,
    data_ended: bool,
    late: Pin<Box<WaitForCancellationFutureOwned>>,
    over: Option<DropGuard>,
    service: &'static str,
}

impl Download {
    pub(super) fn new(
        stream: RecvStream,
        late: CancellationToken,
        over: DropGuard,
        service: &'static str,
    ) -> Self {
        Self {
            stream: Some(stream),
            data_ended: false,
            late: Box::pin(late.cancelled_owned()),
            over: Some(over),
            service,
        }
    }

    fn end(&mut self) {
        self.stream = None;
        self.over = None;
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

    fn next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        let Some(stream) = &mut self.stream else {
            return Poll::Ready(None);
        };
        if !self.data_ended {
            match stream.poll_data(cx) {
                Poll::Ready(Some(Ok(data))) => {
                    stream.flow_control().release_capacity(data.len())?;
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
                Poll::Ready(None) => self.data_ended = true,
                Poll::Pending => return Poll::Pending,
            }
        }
        stream.poll_trailers(cx).map(|trailers| {
            trailers
                .transpose()
                .map(|trailers| trailers.map(Frame::trailers))
        })
    }
}

impl Body for Download {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        if this.stream.is_none() {
            return Poll::Ready(None);
        }
        if this.late.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Some(Ok(this.finish(&Refusal::DeadlineExceeded))));
        }
        match this.next(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Some(Ok(frame))) => {
                if frame.is_trailers() {
                    this.end();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                tracing::debug!(%error, service = this.service, "a call broke off");
                let refusal = Refusal::BrokenOff {
                    service: this.service,
                    code: code(&error),
                };
                Poll::Ready(Some(Ok(this.finish(&refusal))))
            }
            Poll::Ready(None) => {
                this.end();
                Poll::Ready(None)
            }
        }
    }

    /// A response without data has to say so in its head; otherwise callers wait for trailers.
    fn is_end_stream(&self) -> bool {
        self.stream.as_ref().is_none_or(RecvStream::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
