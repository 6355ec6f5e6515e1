//! One server of a backend, at one address: its connections, its circuit, and the checks of its health.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    thread::ThreadId,
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, header::HOST};
use http_body_util::Empty;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use service_kit::{backend::BackendAddress, peer::CONNECT_WITHIN, telemetry};
use tokio::{
    net::TcpStream,
    sync::Semaphore,
    time::{Instant, sleep, timeout},
};

use super::circuit::{Circuit, Turned};
use crate::forward::http::Upload;

/// How long a connection without a request is kept.
const KEPT_FOR: Duration = Duration::from_secs(30);

/// The largest head of a response. It bounds what is read ahead of a body, too.
const MAX_HEAD: usize = 64 * 1024;

/// How often a server is checked, and how often while its circuit is open.
const CHECK_EVERY: Duration = Duration::from_secs(2);
const CHECK_OPEN_EVERY: Duration = Duration::from_millis(500);

/// How long it may take to answer a check.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// The path that is asked for in a check. A server that does not have it answers so, and is well.
const CHECK_PATH: &str = "/status";

/// One server of a backend.
pub(in crate::forward) struct Server {
    address: BackendAddress,
    circuit: Mutex<Circuit>,
    idle: Mutex<Vec<Kept>>,
    /// How many requests may be at work.
    pub(super) places: Arc<Semaphore>,
}

/// A connection without a request.
struct Kept {
    sender: SendRequest<Upload>,
    since: Instant,
    /// The thread on which the connection is driven: to use it from there wakes nobody.
    thread: ThreadId,
}

impl Server {
    /// Begins to check the server, until nobody has it any more.
    pub(super) fn start(address: BackendAddress, places: usize) -> Arc<Self> {
        let server = Arc::new(Self {
            address,
            circuit: Mutex::default(),
            idle: Mutex::default(),
            places: Arc::new(Semaphore::new(places)),
        });
        telemetry::backend_serves(&server.address.to_string(), true);
        tokio::spawn(keep_checking(Arc::downgrade(&server)));
        server
    }

    pub(super) const fn address(&self) -> &BackendAddress {
        &self.address
    }

    /// Whether no request goes there now.
    pub(super) fn is_away(&self) -> bool {
        self.circuit().is_open()
    }

    /// A connection that is there already, best one of this thread; with the thread on which it is driven.
    pub(super) fn take(&self) -> Option<(SendRequest<Upload>, ThreadId)> {
        let mut idle = self.idle();
        let thread = std::thread::current().id();
        loop {
            let own = idle.iter().rposition(|kept| kept.thread == thread);
            let at = own.or_else(|| idle.len().checked_sub(1))?;
            let kept = idle.swap_remove(at);
            if kept.sender.is_ready() && kept.since.elapsed() < KEPT_FOR {
                return Some((kept.sender, kept.thread));
            }
        }
    }

    /// Keeps a connection for another request.
    pub(in crate::forward) fn keep(&self, sender: SendRequest<Upload>, thread: ThreadId) {
        let mut idle = self.idle();
        // The oldest are at the front, more or less: looking at all of them each time would cost more than they do.
        while idle
            .first()
            .is_some_and(|kept| kept.sender.is_closed() || kept.since.elapsed() >= KEPT_FOR)
        {
            idle.swap_remove(0);
        }
        idle.push(Kept {
            sender,
            since: Instant::now(),
            thread,
        });
    }

    /// Opens a connection.
    pub(super) async fn connect(&self) -> io::Result<SendRequest<Upload>> {
        let connecting = async {
            let stream = TcpStream::connect((self.address.host(), self.address.port())).await?;
            stream.set_nodelay(true)?;
            let (sender, connection) = http1::Builder::new()
                .max_buf_size(MAX_HEAD)
                .handshake(TokioIo::new(stream))
                .await
                .map_err(io::Error::other)?;
            let counted = telemetry::backend_connection(&self.address.to_string());
            tokio::spawn(async move {
                // This ends when the connection becomes a tunnel, too, which is counted as such.
                if let Err(error) = connection.with_upgrades().await {
                    tracing::debug!(%error, "a connection to a backend ended");
                }
                drop(counted);
            });
            Ok(sender)
        };
        let connected = match timeout(CONNECT_WITHIN, connecting).await {
            Ok(connected) => connected,
            Err(_late) => Err(io::ErrorKind::TimedOut.into()),
        };
        if let Err(error) = &connected {
            self.failed(error);
        }
        connected
    }

    /// Notes that a request was answered.
    pub(super) fn worked(&self) {
        self.circuit().worked();
    }

    fn failed(&self, why: &io::Error) {
        let turned = self.circuit().failed();
        if turned == Some(Turned::Open) {
            let address = self.address.to_string();
            telemetry::backend_serves(&address, false);
            // Not more often than checks close it again.
            tracing::warn!(address, error = %why, "a backend is away; no requests go there until it answers a check");
            self.idle().clear();
        }
    }

    /// Asks the server how it is.
    async fn check(&self) {
        match timeout(ANSWER_WITHIN, self.ask()).await {
            Ok(Ok(status)) if is_well(status) => {
                if self.circuit().is_well() == Some(Turned::Closed) {
                    let address = self.address.to_string();
                    telemetry::backend_serves(&address, true);
                    tracing::info!(address, "a backend answers again");
                }
            }
            Ok(Ok(status)) => {
                self.failed(&io::Error::other(format!("it answers {status} to a check")));
            }
            Ok(Err(error)) => self.failed(&error),
            Err(_late) => self.failed(&io::ErrorKind::TimedOut.into()),
        }
        let mut idle = self.idle();
        idle.retain(|kept| !kept.sender.is_closed() && kept.since.elapsed() < KEPT_FOR);
        idle.shrink_to(16);
    }

    async fn ask(&self) -> io::Result<StatusCode> {
        let stream = TcpStream::connect((self.address.host(), self.address.port())).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(io::Error::other)?;
        let host =
            HeaderValue::from_str(self.address.authority().as_str()).map_err(io::Error::other)?;
        let request = Request::builder()
            .method(Method::GET)
            .uri(CHECK_PATH)
            .header(HOST, host)
            .body(Empty::<Bytes>::new())
            .map_err(io::Error::other)?;
        tokio::select! {
            biased;
            answered = sender.send_request(request) => {
                answered.map(|answer| answer.status()).map_err(io::Error::other)
            }
            ended = connection => {
                ended.map_err(io::Error::other)?;
                Err(io::ErrorKind::UnexpectedEof.into())
            }
        }
    }

    fn circuit(&self) -> MutexGuard<'_, Circuit> {
        self.circuit.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Kept>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a server that answers a check so can do its work. One that has no such path does its best.
fn is_well(status: StatusCode) -> bool {
    ![
        StatusCode::BAD_GATEWAY,
        StatusCode::SERVICE_UNAVAILABLE,
        StatusCode::GATEWAY_TIMEOUT,
    ]
    .contains(&status)
}

async fn keep_checking(server: Weak<Server>) {
    loop {
        let Some(checked) = server.upgrade() else {
            return;
        };
        checked.check().await;
        let pause = if checked.is_away() {
            CHECK_OPEN_EVERY
        } else {
            CHECK_EVERY
        };
        drop(checked);
        sleep(pause).await;
    }
}
