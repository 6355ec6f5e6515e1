//! A server that answers each connection with the same bytes, however wrong they are.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};

/// What the server does with a connection after the head of a request has come.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Oddly {
    /// It sends this, and closes.
    Closes(&'static str),
    /// It sends this, and waits.
    Waits(&'static str),
}

/// The server. It answers checks like any other.
pub(crate) struct Oddity {
    pub(crate) address: SocketAddr,
    /// How many requests have come, without checks.
    pub(crate) requests: Arc<AtomicUsize>,
    /// The heads of the requests, and what came with them.
    pub(crate) heads: mpsc::UnboundedReceiver<String>,
}

impl Oddity {
    pub(crate) async fn start(oddly: Oddly) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::<AtomicUsize>::default();
        let (sender, heads) = mpsc::unbounded_channel();
        let counted = Arc::clone(&requests);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (counted, sender) = (Arc::clone(&counted), sender.clone());
                tokio::spawn(serve(stream, oddly, counted, sender));
            }
        });
        Self {
            address,
            requests,
            heads,
        }
    }
}

async fn serve(
    mut stream: TcpStream,
    oddly: Oddly,
    counted: Arc<AtomicUsize>,
    sender: mpsc::UnboundedSender<String>,
) {
    let mut read = Vec::new();
    while !read.windows(4).any(|four| four == b"\r\n\r\n") {
        if stream.read_buf(&mut read).await.unwrap_or(0) == 0 {
            return;
        }
    }
    let head = String::from_utf8_lossy(&read).into_owned();
    if head.starts_with("GET /status ") {
        let fine = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        stream.write_all(fine.as_bytes()).await.ok();
        return;
    }
    counted.fetch_add(1, Ordering::Relaxed);
    sender.send(head).ok();
    let (Oddly::Closes(answer) | Oddly::Waits(answer)) = oddly;
    stream.write_all(answer.as_bytes()).await.ok();
    if matches!(oddly, Oddly::Waits(_)) {
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.ok();
    }
}
