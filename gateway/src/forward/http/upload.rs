//! The body of a request on its way to the service.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::{
    sync::oneshot,
    time::{Sleep, sleep},
};

use crate::forward::active::Exchange;

/// How long a body is held back for a service that has yet to say whether it wants it (RFC 9110, section 10.1.1).
const CONTINUE_WITHIN: Duration = Duration::from_secs(1);

/// Holds a body back until the service wants it.
pub(super) struct Gate {
    opened: oneshot::Receiver<()>,
    is_unwanted: bool,
    late: Pin<Box<Sleep>>,
}

impl Gate {
    pub(super) fn new(opened: oneshot::Receiver<()>) -> Self {
        Self {
            opened,
            is_unwanted: false,
            late: Box::pin(sleep(CONTINUE_WITHIN)),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // The sender goes without a word when the response has come; then nobody wants the body.
        if !self.is_unwanted {
            match Pin::new(&mut self.opened).poll(cx) {
                Poll::Ready(Ok(())) => return Poll::Ready(()),
                Poll::Ready(Err(_)) => self.is_unwanted = true,
                Poll::Pending => {}
            }
        }
        self.late.as_mut().poll(cx)
    }
}

/// The body of a request on its way to the service.
pub(in crate::forward) struct Upload {
    pub(super) body: Incoming,
    pub(super) gate: Option<Gate>,
    pub(super) exchange: Arc<Exchange>,
}

impl Body for Upload {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = &mut *self;
        if let Some(gate) = &mut this.gate {
            ready!(gate.poll(cx));
            this.gate = None;
        }
        if this.exchange.is_over() {
            // The service has answered; nobody waits for the rest.
            let over = io::Error::other("the request is over");
            return Poll::Ready(Some(Err(over)));
        }
        let polled = Pin::new(&mut this.body).poll_frame(cx);
        this.exchange.is_unsent(polled.is_pending());
        polled.map_err(io::Error::other)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
