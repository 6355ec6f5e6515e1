//! The connections to one service.

use std::{
    io,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use bytes::Bytes;
use h2::{
    Ping, SendStream,
    client::{Connection, ResponseFuture, SendRequest},
};
use http::Request;
use tokio::{
    net::TcpStream,
    sync::Mutex,
    time::{Instant, sleep, timeout},
};

use super::address::Address;
use crate::accept::{KEEP_ALIVE_INTERVAL, KEEP_ALIVE_TIMEOUT, STREAM_WINDOW};

const CONNECT_WITHIN: Duration = Duration::from_secs(2);
/// Heads and trailers of services; error details have to fit in.
const MAX_HEADER_LIST: u32 = 16 * 1024;
/// The largest window that HTTP/2 knows.
const MAX_WINDOW: usize = (1 << 31) - 1;

/// Why a call could not be sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SendError {
    #[error("cannot connect")]
    Connect(#[from] io::Error),
    #[error("cannot speak HTTP/2")]
    Protocol(#[from] h2::Error),
}

/// A few HTTP/2 connections to one service, used in turn and opened when needed.
///
/// The `h2` crate is spoken directly, because a call that is over has to be reset even while its
/// upload waits for window: a pooled client offers no way to.
pub(crate) struct Upstream {
    address: Address,
    slots: Box<[Mutex<Slot>]>,
    next: AtomicUsize,
    connection_window: u32,
}

#[derive(Default)]
struct Slot {
    sender: Option<(u64, SendRequest<Bytes>)>,
    opened: u64,
    failed_at: Option<Instant>,
}

impl Upstream {
    /// Connections to `address` that together carry `streams` calls at most.
    pub(crate) fn new(address: Address, connections: usize, streams: usize) -> Self {
        // Each call may leave a whole stream window unread. The connection has room for all of them, so
        // that callers who stopped reading cannot stop the others. `streams` bounds the memory.
        let window = streams
            .max(16)
            .saturating_mul(STREAM_WINDOW as usize)
            .min(MAX_WINDOW);
        Self {
            address,
            slots: (0..connections.max(1)).map(|_| Mutex::default()).collect(),
            next: AtomicUsize::new(0),
            connection_window: u32::try_from(window).unwrap_or(u32::MAX >> 1),
        }
    }

    /// Begins a call. A connection that turns out to be closed is replaced, once: `request` has not
    /// been on the wire then.
    pub(crate) async fn open(
        &self,
        request: Request<()>,
        end_of_stream: bool,
    ) -> Result<(ResponseFuture, SendStream<Bytes>), SendError> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let Some(slot) = self.slots.get(turn % self.slots.len()) else {
            return Err(io::Error::other("there is no connection").into());
        };
        let mut again = true;
        loop {
            let (number, sender) = self.sender(slot).await?;
            let sent = match sender.ready().await {
                Ok(mut sender) => sender.send_request(request.clone(), end_of_stream),
                Err(error) => Err(error),
            };
            match sent {
                Ok(call) => return Ok(call),
                Err(error) => {
                    let mut slot = slot.lock().await;
                    if slot
                        .sender
                        .as_ref()
                        .is_some_and(|(kept, _)| *kept == number)
                    {
                        slot.sender = None;
                    }
                    if !again {
                        return Err(error.into());
                    }
                    again = false;
                }
            }
        }
    }

    async fn sender(&self, slot: &Mutex<Slot>) -> Result<(u64, SendRequest<Bytes>), SendError> {
        let asked_at = Instant::now();
        let mut slot = slot.lock().await;
        if let Some((number, sender)) = &slot.sender {
            return Ok((*number, sender.clone()));
        }
        // Who waited while somebody else failed to connect shares that failure, or a queue of
        // callers would wait one timeout after the other.
        if slot.failed_at.is_some_and(|failed| failed >= asked_at) {
            return Err(io::Error::from(io::ErrorKind::NotConnected).into());
        }
        let connected = match timeout(CONNECT_WITHIN, self.connect()).await {
            Ok(connected) => connected,
            Err(_late) => Err(io::Error::from(io::ErrorKind::TimedOut).into()),
        };
        let (sender, connection) =
            connected.inspect_err(|_| slot.failed_at = Some(Instant::now()))?;
        tokio::spawn(drive(connection));
        slot.opened += 1;
        slot.sender = Some((slot.opened, sender.clone()));
        Ok((slot.opened, sender))
    }

    async fn connect(
        &self,
    ) -> Result<(SendRequest<Bytes>, Connection<TcpStream, Bytes>), SendError> {
        let stream = TcpStream::connect((self.address.host.as_str(), self.address.port)).await?;
        stream.set_nodelay(true)?;
        Ok(h2::client::Builder::new()
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(self.connection_window)
            .max_header_list_size(MAX_HEADER_LIST)
            .enable_push(false)
            .handshake(stream)
            .await?)
    }
}

/// Moves a connection along, and gives it up when the other side stops answering.
async fn drive(mut connection: Connection<TcpStream, Bytes>) {
    let Some(mut pings) = connection.ping_pong() else {
        return;
    };
    let silence = async {
        loop {
            sleep(KEEP_ALIVE_INTERVAL).await;
            match timeout(KEEP_ALIVE_TIMEOUT, pings.ping(Ping::opaque())).await {
                Ok(Ok(_pong)) => {}
                Ok(Err(_)) | Err(_) => return,
            }
        }
    };
    tokio::select! {
        ended = connection => if let Err(error) = ended {
            tracing::debug!(%error, "a connection to a service ended");
        },
        () = silence => tracing::warn!("a service stopped answering on a connection"),
    }
}
