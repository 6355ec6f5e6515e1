//! The gateway's own answers.

pub(crate) mod grpc;
pub(crate) mod http;

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use crate::forward::{Download, HttpDownload};

/// The body of any response.
pub(crate) enum Body {
    /// No body.
    Empty,
    /// A complete body.
    Full(Bytes),
    /// The body of a service's response to a gRPC call.
    Forwarded(Download),
    /// The body of a service's response to another request.
    ForwardedHttp(HttpDownload),
    /// The body of a gRPC service of the gateway itself.
    Own(tonic::body::Body),
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match &mut *self {
            Self::Empty => Poll::Ready(None),
            Self::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                *self = Self::Empty;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Self::Forwarded(body) => Pin::new(body)
                .poll_frame(cx)
                .map(|frame| frame.map(|frame| frame.map_err(|never| match never {}))),
            Self::ForwardedHttp(body) => Pin::new(body).poll_frame(cx),
            Self::Own(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Full(_) => false,
            Self::Forwarded(body) => body.is_end_stream(),
            Self::ForwardedHttp(body) => body.is_end_stream(),
            Self::Own(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Forwarded(body) => body.size_hint(),
            Self::ForwardedHttp(body) => body.size_hint(),
            Self::Own(body) => body.size_hint(),
        }
    }
}
