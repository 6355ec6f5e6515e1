//! The first bytes of a connection: which protocol it speaks.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};

use super::frames::Frames;

/// The connection preface of HTTP/2 (RFC 9113, section 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Http1,
    Http2,
}

/// Reads until the protocol is known. What was read comes again from the returned socket.
pub(super) async fn protocol<S: AsyncRead + Unpin>(
    mut socket: S,
) -> io::Result<(Protocol, Replayed<S>)> {
    let mut first = [0; PREFACE.len()];
    let mut length = 0;
    let protocol = loop {
        let Some(room) = first.get_mut(length..) else {
            break Protocol::Http2;
        };
        let read = socket.read(room).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        length += read;
        if !PREFACE.starts_with(first.get(..length).unwrap_or_default()) {
            break Protocol::Http1;
        }
        if length == PREFACE.len() {
            break Protocol::Http2;
        }
    };
    let replayed = Replayed {
        first,
        next: 0,
        length,
        read: 0,
        frames: (protocol == Protocol::Http2).then(|| Frames::new(PREFACE.len())),
        socket,
    };
    Ok((protocol, replayed))
}

/// A socket whose first bytes were read before.
pub(super) struct Replayed<S> {
    first: [u8; PREFACE.len()],
    next: usize,
    length: usize,
    /// What was read since others had their turn, in bytes.
    read: usize,
    /// What passes, on HTTP/2.
    frames: Option<Frames>,
    socket: S,
}

/// How much is read from one connection before the others of its thread have their turn, in bytes. Some frames cost their
/// sender nothing, and tens of thousands of them would be read at once.
const AT_ONCE: usize = 64 * 1024;

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Replayed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        let read = this.poll_bytes(cx, buffer);
        let new = buffer.filled().get(before..).unwrap_or_default();
        if let Some(frames) = &mut this.frames
            && frames.receive(new).is_err()
        {
            // The client learns why, if there is room for it. Nobody waits for that.
            if let Some(goodbye) = frames.goodbye() {
                let _ = Pin::new(&mut this.socket).poll_write(cx, &goodbye);
                let _ = Pin::new(&mut this.socket).poll_flush(cx);
            }
            return Poll::Ready(Err(io::Error::other("too many frames that carry nothing")));
        }
        read
    }
}

impl<S: AsyncRead + Unpin> Replayed<S> {
    fn poll_bytes(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.next < self.length {
            let left = self.first.get(self.next..self.length).unwrap_or_default();
            let count = left.len().min(buffer.remaining());
            buffer.put_slice(left.get(..count).unwrap_or_default());
            self.next += count;
            // What has arrived since saves a call.
            let more = Pin::new(&mut self.socket).poll_read(cx, buffer);
            return match more {
                Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                Poll::Ready(Ok(())) | Poll::Pending => Poll::Ready(Ok(())),
            };
        }
        if self.read >= AT_ONCE {
            self.read = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        match Pin::new(&mut self.socket).poll_read(cx, buffer) {
            Poll::Ready(read) => {
                self.read += buffer.filled().len() - before;
                Poll::Ready(read)
            }
            Poll::Pending => {
                self.read = 0;
                Poll::Pending
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Replayed<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write(cx, buffer);
        if let (Poll::Ready(Ok(written)), Some(frames)) = (&written, &mut self.frames) {
            frames.send(buffer.get(..*written).unwrap_or_default());
        }
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write_vectored(cx, buffers);
        if let (Poll::Ready(Ok(written)), Some(frames)) = (&written, &mut self.frames) {
            let mut left = *written;
            for buffer in buffers {
                let taken = left.min(buffer.len());
                frames.send(buffer.get(..taken).unwrap_or_default());
                left -= taken;
            }
        }
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::{PREFACE, Protocol, protocol};

    async fn seen(pieces: &[&[u8]]) -> (Protocol, Vec<u8>) {
        let (ours, mut theirs) = tokio::io::duplex(3);
        let pieces: Vec<_> = pieces.iter().map(|piece| piece.to_vec()).collect();
        let sending = tokio::spawn(async move {
            for piece in pieces {
                theirs.write_all(&piece).await.unwrap();
            }
        });
        let (protocol, mut replayed) = protocol(ours).await.unwrap();
        let mut all = Vec::new();
        replayed.read_to_end(&mut all).await.unwrap();
        sending.await.unwrap();
        (protocol, all)
    }

    #[tokio::test]
    async fn an_end_before_the_protocol_is_known_is_an_error() {
        for begin in [&b""[..], b"P", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r"] {
            assert!(protocol(begin).await.is_err());
        }
    }

    proptest! {
        #[test]
        fn the_preface_is_known_in_any_pieces_and_nothing_is_lost(
            is_http2: bool,
            cut in 0_usize..40,
            rest in prop::collection::vec(any::<u8>(), 0..60),
        ) {
            let mut all = if is_http2 { PREFACE.to_vec() } else { b"GET / HTTP/1.1\r\n\r\n".to_vec() };
            all.extend(rest);
            let (front, back) = all.split_at(cut.min(all.len()));
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let (protocol, read) = runtime.block_on(seen(&[front, back]));
            prop_assert_eq!(protocol == Protocol::Http2, is_http2);
            prop_assert_eq!(read, all);
        }
    }
}
