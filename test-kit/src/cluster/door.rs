//! The port of each node, and its connections.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc};

use http::Request;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_util::sync::CancellationToken;

use super::{
    state::{Inner, Life},
    wire::Call,
};

/// A port that stays reserved while no one listens on it, so that connections to a dead node are refused.
pub(super) struct Port {
    address: SocketAddr,
    /// Bound, and never listening.
    _reservation: TcpSocket,
}

impl Port {
    pub(super) fn reserve() -> Self {
        let reservation = shared_socket(([127, 0, 0, 1], 0).into());
        Self {
            address: reservation.local_addr().expect("an address"),
            _reservation: reservation,
        }
    }

    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    fn listen(&self) -> TcpListener {
        shared_socket(self.address)
            .listen(1024)
            .expect("the port is reserved")
    }
}

fn shared_socket(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_reuseaddr(true).expect("an option of sockets");
    socket.set_reuseport(true).expect("an option of sockets");
    socket.bind(address).expect("a port");
    socket
}

/// Takes connections to a node until it dies.
pub(super) fn open(inner: &Arc<Inner>, node: usize, port: &Port) {
    let listener = port.listen();
    let door = CancellationToken::new();
    inner.doors.lock().expect("no panic")[node] = door.clone();
    let serving = serve(Arc::clone(inner), node, listener, door.clone());
    inner.spawn(async move {
        door.run_until_cancelled(serving).await;
    });
}

async fn serve(inner: Arc<Inner>, node: usize, listener: TcpListener, door: CancellationToken) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        let served = connection(Arc::clone(&inner), node, stream);
        let door = door.clone();
        inner.spawn(async move {
            door.run_until_cancelled(served).await;
        });
    }
}

async fn connection(inner: Arc<Inner>, node: usize, stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request: Request<Incoming>| {
        let inner = Arc::clone(&inner);
        async move {
            let aborted = || io::Error::from(io::ErrorKind::ConnectionAborted);
            let call = Call::read(request).await.map_err(|_| aborted())?;
            inner.until_awake(node).await;
            let answer = inner.coordinate(node, call).await;
            inner.until_awake(node).await;
            if inner.pulse(node).life == Life::Dead {
                // The connection is about to be cut. An answer could be faster.
                std::future::pending::<Infallible>().await;
            }
            let answer = answer.ok_or_else(aborted)?;
            Ok::<_, io::Error>(answer.into_response())
        }
    });
    // An error is the client's business: it sees its connection end.
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}
