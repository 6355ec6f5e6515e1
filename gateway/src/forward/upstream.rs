//! The connections to one service.

use std::{
    io,
    sync::{
        Arc, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use h2::{
    Ping, SendStream,
    client::{Connection, ResponseFuture, SendRequest},
};
use http::Request;
use service_kit::{
    peer::{Addresses, CONNECT_WITHIN, Replica, Replicas},
    socket::Socket,
    tls::Tls,
};
use tokio::{
    sync::{Mutex, oneshot},
    time::{Instant, sleep, timeout},
};

use crate::http2::{KEEP_ALIVE_INTERVAL, KEEP_ALIVE_TIMEOUT, STREAM_WINDOW};

/// The limit for heads and trailers of services. Far more than a caller gets: a list beyond it breaks the connection, with
/// all calls on it.
const MAX_HEADER_LIST: u32 = 1024 * 1024;
/// How many cancelled calls a connection remembers, and how long.
const REMEMBERED_RESETS: usize = 4096;
const REMEMBERED_FOR: Duration = Duration::from_secs(30);
/// The largest flow-control window of HTTP/2.
const MAX_WINDOW: usize = (1 << 31) - 1;

/// Why a call could not be sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SendError {
    #[error("cannot connect")]
    Connect(#[from] io::Error),
    #[error("cannot speak HTTP/2")]
    Protocol(#[from] h2::Error),
}

/// A few HTTP/2 connections to each replica of one service, used in turn and opened when needed.
///
/// This uses the `h2` crate directly, because a call has to be reset even while its upload waits for
/// flow-control window, which a pooled client cannot do.
pub(crate) struct Upstream {
    replicas: Replicas<Slots>,
    tls: Option<Tls>,
    connection_window: u32,
}

/// The connections to one replica.
struct Slots {
    slots: Box<[Slot]>,
    next: AtomicUsize,
}

#[derive(Default)]
struct Slot {
    /// The open connection. Never held over an await.
    sender: std::sync::Mutex<Option<(u64, SendRequest<Bytes>)>>,
    opening: Mutex<Opening>,
}

/// Held while a connection is opened, so that calls share it.
#[derive(Default)]
struct Opening {
    opened: u64,
    failed_at: Option<Instant>,
}

impl Slot {
    fn sender(&self) -> MutexGuard<'_, Option<(u64, SendRequest<Bytes>)>> {
        self.sender.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Upstream {
    /// Connections to each replica at `addresses`, which together carry `streams` calls at most.
    pub(crate) fn new(
        addresses: Addresses,
        tls: Option<Tls>,
        connections: usize,
        streams: usize,
    ) -> Self {
        // Each call may leave a whole stream window unread. The connection has room for all of them, so
        // that callers who stopped reading cannot stop the others. `streams` bounds the memory.
        let window = streams
            .max(16)
            .saturating_mul(STREAM_WINDOW as usize)
            .min(MAX_WINDOW);
        Self {
            replicas: Replicas::new(addresses, move || Slots {
                slots: (0..connections.max(1)).map(|_| Slot::default()).collect(),
                next: AtomicUsize::new(0),
            }),
            tls,
            connection_window: u32::try_from(window).unwrap_or(u32::MAX >> 1),
        }
    }

    /// Starts a call at the next replica in turn that can be reached. A failed attempt has sent nothing.
    pub(crate) async fn open(
        &self,
        request: &Request<()>,
        end_of_stream: bool,
    ) -> Result<(ResponseFuture, SendStream<Bytes>), SendError> {
        let mut tried = Vec::new();
        let mut failure = None;
        while let Some(replica) = self.replicas.pick(&tried).await {
            match self.open_at(&replica, request, end_of_stream).await {
                Ok(call) => {
                    replica.worked();
                    return Ok(call);
                }
                Err(error) => {
                    replica.failed();
                    tried.push(replica.address());
                    failure = Some(error);
                }
            }
        }
        Err(failure.unwrap_or_else(|| {
            let nobody = "no replica is known";
            io::Error::new(io::ErrorKind::NotFound, nobody).into()
        }))
    }

    /// Starts a call at one replica. A connection that turns out to be closed is replaced once.
    async fn open_at(
        &self,
        replica: &Arc<Replica<Slots>>,
        request: &Request<()>,
        end_of_stream: bool,
    ) -> Result<(ResponseFuture, SendStream<Bytes>), SendError> {
        let Slots { slots, next } = &replica.connections;
        let turn = next.fetch_add(1, Ordering::Relaxed);
        let Some(slot) = slots.get(turn % slots.len()) else {
            return Err(io::Error::other("there is no connection").into());
        };
        let mut again = true;
        loop {
            let (number, sender) = self.sender(replica, slot).await?;
            let sent = match sender.ready().await {
                Ok(mut sender) => sender.send_request(request.clone(), end_of_stream),
                Err(error) => Err(error),
            };
            match sent {
                Ok(call) => return Ok(call),
                Err(error) => {
                    slot.sender().take_if(|(kept, _)| *kept == number);
                    if !again {
                        return Err(error.into());
                    }
                    again = false;
                }
            }
        }
    }

    async fn sender(
        &self,
        replica: &Arc<Replica<Slots>>,
        slot: &Slot,
    ) -> Result<(u64, SendRequest<Bytes>), SendError> {
        if let Some((number, sender)) = &*slot.sender() {
            return Ok((*number, sender.clone()));
        }
        let asked_at = Instant::now();
        let mut opening = slot.opening.lock().await;
        if let Some((number, sender)) = &*slot.sender() {
            return Ok((*number, sender.clone()));
        }
        // Calls that waited for a failed attempt share its failure. Otherwise a queue of calls would wait for one
        // timeout after the other.
        if opening.failed_at.is_some_and(|failed| failed >= asked_at) {
            return Err(io::Error::from(io::ErrorKind::NotConnected).into());
        }
        let connected = match timeout(CONNECT_WITHIN, self.connect(replica)).await {
            Ok(connected) => connected,
            Err(_late) => Err(io::Error::from(io::ErrorKind::TimedOut).into()),
        };
        let sender = connected.inspect_err(|_| opening.failed_at = Some(Instant::now()))?;
        opening.opened += 1;
        *slot.sender() = Some((opening.opened, sender.clone()));
        Ok((opening.opened, sender))
    }

    async fn connect(
        &self,
        replica: &Arc<Replica<Slots>>,
    ) -> Result<SendRequest<Bytes>, SendError> {
        let socket = Socket::connect(replica.address(), replica.host(), self.tls.as_ref()).await?;
        let (sender, connection) = h2::client::Builder::new()
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(self.connection_window)
            // Windows bound what a service may send, also in small pieces.
            .data_frame_budget(self.connection_window as usize)
            .max_header_list_size(MAX_HEADER_LIST)
            // Callers cancel calls as they like. Their streams are remembered until all has come that was on its way, and
            // what comes later still does not break the connection off: others' calls are on it.
            .max_concurrent_reset_streams(REMEMBERED_RESETS)
            .reset_stream_duration(REMEMBERED_FOR)
            .max_local_error_reset_streams(None)
            .enable_push(false)
            .handshake(socket)
            .await?;
        // The kernel accepts connections for a process that hangs; only an answer shows that it works.
        let (alive, lives) = oneshot::channel();
        tokio::spawn(drive(connection, Arc::clone(replica), alive));
        lives
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::ConnectionAborted))?;
        Ok(sender)
    }
}

/// Drives a connection, and closes it when the other side stops answering PINGs. Signals `alive` after the
/// first answer.
async fn drive(
    mut connection: Connection<Socket, Bytes>,
    replica: Arc<Replica<Slots>>,
    alive: oneshot::Sender<()>,
) {
    let Some(mut pings) = connection.ping_pong() else {
        return;
    };
    let silence = async {
        match pings.ping(Ping::opaque()).await {
            // The receiver is gone when connecting timed out.
            Ok(_pong) => drop(alive.send(())),
            Err(_) => return,
        }
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
        () = silence => {
            replica.failed();
            tracing::warn!(address = %replica.address(), "a service stopped answering on a connection");
        }
    }
}
