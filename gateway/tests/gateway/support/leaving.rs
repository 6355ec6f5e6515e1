//! A service that shuts down at each call and says that it has not processed it, spoken in bytes.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{self, AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// The length of the bytes with which a client begins a connection (RFC 9113, section 3.4).
const PREFACE: usize = 24;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
/// `END_STREAM` of a call, `ACK` of settings and pings.
const FLAG: u8 = 1;

/// The service.
pub(crate) struct Leaving {
    pub(crate) address: SocketAddr,
    calls: Arc<AtomicUsize>,
}

impl Leaving {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&calls);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(leave(stream, Arc::clone(&counted)));
            }
        });
        Self { address, calls }
    }

    /// The number of calls that were received whole.
    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

async fn leave(mut stream: TcpStream, calls: Arc<AtomicUsize>) -> io::Result<()> {
    stream.read_exact(&mut [0; PREFACE]).await?;
    say(&mut stream, SETTINGS, 0, &[]).await?;
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await?;
        let [a, b, c, kind, flags, ..] = head;
        let length = u32::from_be_bytes([0, a, b, c]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        stream.read_exact(&mut payload).await?;
        let has_flag = flags & FLAG != 0;
        match kind {
            SETTINGS if !has_flag => say(&mut stream, SETTINGS, FLAG, &[]).await?,
            PING if !has_flag => say(&mut stream, PING, FLAG, &payload).await?,
            HEADERS | DATA if has_flag => {
                calls.fetch_add(1, Ordering::SeqCst);
                // The last stream that was processed is none; the reason is no error.
                say(&mut stream, GOAWAY, 0, &[0; 8]).await?;
            }
            _ => {}
        }
    }
}

/// Writes a frame of the connection.
async fn say(stream: &mut TcpStream, kind: u8, flags: u8, payload: &[u8]) -> io::Result<()> {
    let length = u8::try_from(payload.len()).unwrap();
    let mut frame = vec![0, 0, length, kind, flags, 0, 0, 0, 0];
    frame.extend_from_slice(payload);
    stream.write_all(&frame).await
}
