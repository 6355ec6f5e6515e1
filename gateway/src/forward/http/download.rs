//! The body of a service's response on its way to the caller.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tonic::Status;

use super::pool::Lease;
use crate::{
    forward::{
        active::{Running, Stream},
        turns::Turn,
    },
    refusal::Refusal,
};

/// The body of a service's response. Dropping it before its end closes the connection to the service.
pub(crate) struct HttpDownload {
    pub(super) running: Option<Running>,
    pub(super) lease: Option<Lease>,
    /// The turn of a stream that lasts.
    pub(super) lasting: Option<Turn>,
}

impl HttpDownload {
    pub(super) const fn none() -> Self {
        Self {
            running: None,
            lease: None,
            lasting: None,
        }
    }

    fn end(&mut self) {
        self.running = None;
        self.lasting = None;
        if let Some(lease) = self.lease.take() {
            lease.end();
        }
    }

    fn is_whole(&self) -> bool {
        let running = self.running.as_ref();
        running.is_none_or(|running| {
            running
                .exchange()
                .peek(|stream| matches!(stream, Stream::Http(body) if body.is_end_stream()))
                .unwrap_or(false)
        })
    }
}

impl Drop for HttpDownload {
    /// Who has read a body to its end does not ask whether there is more.
    fn drop(&mut self) {
        if self.is_whole() {
            self.end();
        }
    }
}

impl Body for HttpDownload {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        let Some(running) = &this.running else {
            return Poll::Ready(None);
        };
        let exchange = Arc::clone(running.exchange());
        let waker = cx.waker().clone();
        let next = exchange.with_stream(&waker, |stream| match stream {
            Stream::Http(body) => Pin::new(body).poll_frame(cx),
            Stream::Grpc(_) => Poll::Ready(None),
        });
        let broken = match next {
            Ok(Poll::Ready(Some(Ok(frame)))) => {
                exchange.is_unread(true);
                exchange.has_answered();
                return Poll::Ready(Some(Ok(frame)));
            }
            Ok(Poll::Ready(None)) => {
                this.end();
                return Poll::Ready(None);
            }
            Ok(Poll::Pending) => {
                exchange.is_unread(false);
                return Poll::Pending;
            }
            Ok(Poll::Ready(Some(Err(error)))) => {
                tracing::debug!(%error, "a response broke off");
                Status::unavailable("the response broke off")
            }
            Err(why) => why.map_or_else(
                || Status::unavailable("the response broke off"),
                |why| Status::from(&Refusal::from(why)),
            ),
        };
        // An error breaks the caller's stream off: the end of a body is never pretended.
        this.running = None;
        this.lease = None;
        this.lasting = None;
        Poll::Ready(Some(Err(broken)))
    }

    fn is_end_stream(&self) -> bool {
        self.is_whole()
    }

    fn size_hint(&self) -> SizeHint {
        let hint = self.running.as_ref().and_then(|running| {
            running.exchange().peek(|stream| match stream {
                Stream::Http(body) => body.size_hint(),
                Stream::Grpc(_) => SizeHint::default(),
            })
        });
        hint.unwrap_or_else(|| SizeHint::with_exact(0))
    }
}
