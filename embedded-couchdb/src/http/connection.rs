//! One connection: its requests, and how long it may be idle.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use http::{Request, Response};
use hyper::{
    body::{Body as _, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio_util::sync::CancellationToken;

use super::{app::App, body::Body, server::respond, targets::LenientTargets};

/// How long a connection may be idle if nobody has logged in on it. That of a known client stays open: a client that
/// reuses an idle connection should not find it closed.
const STRANGER_IDLE: Duration = Duration::from_mins(1);

/// The size in bytes of a response that every client reads in that time.
const SMALL_RESPONSE: u64 = 64 * 1024;

/// Serves the requests of one connection until it ends.
pub(super) async fn serve(
    app: Arc<App>,
    stream: tokio::net::TcpStream,
    peer: SocketAddr,
    shutdown: CancellationToken,
) {
    let state = Arc::new(Mutex::new(ConnectionState::Idle(Instant::now())));
    let service = service_fn({
        let state = Arc::clone(&state);
        move |request| respond_on(Arc::clone(&app), request, peer.ip(), Arc::clone(&state))
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .keep_alive(true)
        .header_read_timeout(None)
        .title_case_headers(true)
        .serve_connection(TokioIo::new(LenientTargets::new(stream)), service);
    tokio::pin!(served);
    let result = tokio::select! {
        result = served.as_mut() => result,
        () = shutdown.cancelled() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
        () = idle_stranger(&state) => return,
    };
    if let Err(error) = result {
        tracing::debug!(%peer, %error, "a connection ended early");
    }
}

/// What happens on a connection.
#[derive(Clone, Copy)]
enum ConnectionState {
    /// A request is at work, or a known client's was the last one.
    Kept,
    /// Nobody has logged in with the last request, which was answered at this time.
    Idle(Instant),
}

fn set(state: &Mutex<ConnectionState>, new: ConnectionState) {
    *state.lock().unwrap_or_else(PoisonError::into_inner) = new;
}

/// Returns when nobody known has sent a request on the connection for too long.
async fn idle_stranger(state: &Mutex<ConnectionState>) {
    loop {
        let seen = *state.lock().unwrap_or_else(PoisonError::into_inner);
        let left = match seen {
            ConnectionState::Kept => STRANGER_IDLE,
            ConnectionState::Idle(since) => STRANGER_IDLE.saturating_sub(since.elapsed()),
        };
        if left.is_zero() {
            return;
        }
        tokio::time::sleep(left).await;
    }
}

/// Responds to one request, and notes who sent it. An error closes the connection without a response.
async fn respond_on(
    app: Arc<App>,
    request: Request<Incoming>,
    peer: IpAddr,
    state: Arc<Mutex<ConnectionState>>,
) -> Result<Response<Body>, io::Error> {
    set(&state, ConnectionState::Kept);
    let (response, is_known) = respond(app, request, peer).await?;
    // A feed or a large response may be on its way for longer.
    let is_small = response
        .body()
        .size_hint()
        .upper()
        .is_some_and(|size| size <= SMALL_RESPONSE);
    if !is_known && is_small {
        set(&state, ConnectionState::Idle(Instant::now()));
    }
    Ok(response)
}
