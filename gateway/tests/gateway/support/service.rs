//! A service that does what the method's name says, spoken in frames.

use std::net::SocketAddr;

use bytes::Bytes;
use futures::future::poll_fn;
use h2::{
    RecvStream, SendStream,
    server::{self, SendResponse},
};
use http::{HeaderMap, Request, Response};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::{Mutex, mpsc},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::SOON;

/// What the service went through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A call came in.
    Begun,
    /// The caller broke the call off.
    Reset,
    /// The caller sent so many bytes in all.
    Received(usize),
    /// So many bytes could be sent before the caller made no more room.
    Stalled(usize),
}

/// The fake service.
pub(crate) struct Service {
    pub(crate) address: SocketAddr,
    events: Mutex<mpsc::UnboundedReceiver<Event>>,
    sender: mpsc::UnboundedSender<Event>,
    running: Running,
}

struct Running {
    say_goodbye: CancellationToken,
    die: CancellationToken,
    tasks: TaskTracker,
}

impl Service {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (sender, events) = mpsc::unbounded_channel();
        Self {
            address: listener.local_addr().unwrap(),
            events: Mutex::new(events),
            running: run(listener, &sender),
            sender,
        }
    }

    /// Waits until `event` happens, past all others.
    pub(crate) async fn wait_for(&self, event: &Event) {
        let waiting = async {
            let mut events = self.events.lock().await;
            while events.recv().await.as_ref() != Some(event) {}
        };
        tokio::time::timeout(SOON, waiting)
            .await
            .unwrap_or_else(|_| panic!("never happened: {event:?}"));
    }

    /// How many bytes were sent when the caller made no more room.
    pub(crate) async fn stalled_at(&self) -> usize {
        let waiting = async {
            loop {
                if let Some(Event::Stalled(bytes)) = self.events.lock().await.recv().await {
                    return bytes;
                }
            }
        };
        tokio::time::timeout(SOON, waiting)
            .await
            .expect("the service never stalled")
    }

    /// Whether nothing happened so far.
    pub(crate) async fn was_left_alone(&self) -> bool {
        self.events.lock().await.is_empty()
    }

    /// Says GOAWAY on all connections and goes on with the calls that run.
    pub(crate) fn say_goodbye(&self) {
        self.running.say_goodbye.cancel();
    }

    /// Drops all connections at once.
    pub(crate) async fn die(&self) {
        self.running.die.cancel();
        self.running.tasks.close();
        self.running.tasks.wait().await;
    }

    /// Comes back at the same address.
    pub(crate) fn revive(&mut self) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(self.address).unwrap();
        self.running = run(socket.listen(64).unwrap(), &self.sender);
    }
}

fn run(listener: TcpListener, events: &mpsc::UnboundedSender<Event>) -> Running {
    let running = Running {
        say_goodbye: CancellationToken::new(),
        die: CancellationToken::new(),
        tasks: TaskTracker::new(),
    };
    let (goodbye, die) = (running.say_goodbye.clone(), running.die.clone());
    let (events, tasks) = (events.clone(), running.tasks.clone());
    running.tasks.spawn(async move {
        loop {
            let stream = tokio::select! {
                accepted = listener.accept() => accepted.unwrap().0,
                () = die.cancelled() => return,
            };
            let (die, events) = (die.clone(), events.clone());
            // Who comes after the goodbye is welcome.
            let goodbye = if goodbye.is_cancelled() {
                CancellationToken::new()
            } else {
                goodbye.clone()
            };
            tasks.spawn(async move {
                tokio::select! {
                    () = serve(stream, goodbye, events) => {}
                    () = die.cancelled() => {}
                }
            });
        }
    });
    running
}

async fn serve(
    stream: TcpStream,
    goodbye: CancellationToken,
    events: mpsc::UnboundedSender<Event>,
) {
    let mut builder = server::Builder::new();
    // Fewer than the calls of a test, so that some have to wait.
    builder.max_concurrent_streams(24);
    let Ok(mut connection) = builder.handshake::<_, Bytes>(stream).await else {
        return;
    };
    let mut said = false;
    loop {
        let accepted = tokio::select! {
            accepted = connection.accept() => accepted,
            () = goodbye.cancelled(), if !said => {
                said = true;
                connection.graceful_shutdown();
                continue;
            }
        };
        let Some(Ok((request, respond))) = accepted else {
            return;
        };
        tokio::spawn(play(request, respond, events.clone()));
    }
}

async fn play(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    events: mpsc::UnboundedSender<Event>,
) {
    let method = request.uri().path().rsplit('/').next().unwrap().to_owned();
    if method == "Check" {
        // The gateway asks for health now and then; that is no part of any test.
        let mut response = head();
        response.headers_mut().extend(status("12"));
        respond.send_response(response, true).ok();
        return;
    }
    events.send(Event::Begun).ok();
    match method.as_str() {
        "Headers" => {
            let mut told = format!(":authority: {}\n", request.uri().authority().unwrap());
            for (name, value) in request.headers() {
                told.push_str(&format!("{name}: {}\n", value.to_str().unwrap()));
            }
            let mut stream = respond.send_response(head(), false).unwrap();
            stream.send_data(Bytes::from(told), false).unwrap();
            stream.send_trailers(status("0")).unwrap();
        }
        "Echo" => {
            let mut stream = respond.send_response(head(), false).unwrap();
            let mut body = request.into_body();
            while let Some(Ok(data)) = body.data().await {
                body.flow_control().release_capacity(data.len()).unwrap();
                stream.send_data(data, false).ok();
            }
            stream.send_trailers(status("0")).ok();
        }
        "Collect" => {
            let mut body = request.into_body();
            let mut received = 0;
            loop {
                match body.data().await {
                    Some(Ok(data)) => {
                        received += data.len();
                        body.flow_control().release_capacity(data.len()).unwrap();
                    }
                    Some(Err(_)) => {
                        events.send(Event::Reset).ok();
                        return;
                    }
                    None => break,
                }
            }
            events.send(Event::Received(received)).ok();
            let mut stream = respond.send_response(head(), false).unwrap();
            stream.send_trailers(status("0")).unwrap();
        }
        "ErrorAtOnce" => {
            let mut response = head();
            response.headers_mut().extend(status("9"));
            respond.send_response(response, true).unwrap();
        }
        "Unimplemented" => {
            let mut response = head();
            response
                .headers_mut()
                .insert("grpc-status", "12".parse().unwrap());
            respond.send_response(response, true).unwrap();
        }
        "LongError" => {
            let length = request.headers()["length"].to_str().unwrap();
            let long = "x".repeat(length.parse().unwrap());
            let mut stream = respond.send_response(head(), false).unwrap();
            let mut trailers = status("9");
            trailers.insert("grpc-message", long.parse().unwrap());
            stream.send_trailers(trailers).unwrap();
        }
        "ErrorInTheMiddle" => {
            let mut stream = respond.send_response(head(), false).unwrap();
            stream
                .send_data(Bytes::from_static(b"first"), false)
                .unwrap();
            stream.send_trailers(status("13")).unwrap();
        }
        "Vanish" => {
            let mut stream = respond.send_response(head(), false).unwrap();
            stream
                .send_data(Bytes::from_static(b"first"), false)
                .unwrap();
            // Kept open until the test kills the service.
            poll_fn(|cx| stream.poll_reset(cx)).await.ok();
        }
        "Silence" => {
            poll_fn(|cx| respond.poll_reset(cx)).await.unwrap();
            events.send(Event::Reset).ok();
        }
        "Deaf" => {
            // Takes the call, reads nothing of it, and leaves its own answer unfinished.
            let body = request.into_body();
            let mut stream = respond.send_response(head(), false).unwrap();
            poll_fn(|cx| stream.poll_reset(cx)).await.unwrap();
            events.send(Event::Reset).ok();
            drop(body);
        }
        "Endless" => {
            let stream = respond.send_response(head(), false).unwrap();
            endless(stream, &events).await;
        }
        other => panic!("the service knows no {other}"),
    }
}

async fn endless(mut stream: SendStream<Bytes>, events: &mpsc::UnboundedSender<Event>) {
    const PIECE: usize = 16 * 1024;
    let mut sent = 0;
    loop {
        stream.reserve_capacity(PIECE);
        let room = tokio::select! {
            room = poll_fn(|cx| stream.poll_capacity(cx)) => room,
            () = tokio::time::sleep(std::time::Duration::from_millis(500)) => {
                events.send(Event::Stalled(sent)).ok();
                poll_fn(|cx| stream.poll_reset(cx)).await.unwrap();
                None
            }
        };
        let Some(Ok(room)) = room else {
            events.send(Event::Reset).ok();
            return;
        };
        sent += room;
        if stream.send_data(Bytes::from(vec![7; room]), false).is_err() {
            events.send(Event::Reset).ok();
            return;
        }
    }
}

fn head() -> Response<()> {
    Response::builder()
        .header("content-type", "application/grpc")
        .body(())
        .unwrap()
}

fn status(code: &str) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", code.parse().unwrap());
    trailers.insert("grpc-message", "as%20asked".parse().unwrap());
    trailers.insert("grpc-status-details-bin", "CAk".parse().unwrap());
    trailers
}
