//! The load, in a process of its own: as many calls as there are streams are under way all the time.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    process::{Command, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::future::poll_fn;
use h2::{RecvStream, client::SendRequest};
use http::{HeaderMap, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::{
    net::TcpStream,
    sync::Semaphore,
    task::JoinHandle,
    time::{sleep, timeout},
};

use crate::{
    processor,
    serve::Error,
    upstream::{PREFIX, STREAM_PATH, UNARY_PATH, framed},
};

/// How many messages of a stream are under way at most. Without a bound, the latency would be that of full buffers.
pub(crate) const UNDER_WAY: usize = 256;

/// How long a load may take in all, beyond its own length.
const PATIENCE: Duration = Duration::from_mins(10);

/// The window of a call, and of a connection: large enough that the load never makes a proxy wait.
const STREAM_WINDOW: u32 = 1024 * 1024;
const CONNECTION_WINDOW: u32 = 16 * STREAM_WINDOW;

/// What is sent.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum Traffic {
    /// Calls with one message each way.
    Unary {
        bytes: usize,
        connections: usize,
        streams: usize,
    },
    /// One call with many messages each way.
    Stream { bytes: usize, messages: usize },
    /// Pages, over connections that are kept.
    Http1 { bytes: usize, connections: usize },
}

/// A run of the load.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// Where the proxy listens.
    pub(crate) address: SocketAddr,
    /// The process whose processor time is measured.
    pub(crate) process: u32,
    pub(crate) traffic: Traffic,
    /// How many hosts the calls go round over.
    pub(crate) instances: usize,
    pub(crate) warm_up: Duration,
    pub(crate) length: Duration,
}

/// What a run has shown.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum Outcome {
    Measured(Figures),
    /// The proxy answers itself, with this status, instead of forwarding.
    NotForwarded(u16),
}

/// The numbers of a run: µs of processor time and calls in a second; latencies in ms.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Figures {
    pub(crate) processor: f64,
    pub(crate) rate: f64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
}

/// Runs the load in a process of its own.
pub(crate) fn start(plan: &Plan) -> Outcome {
    let program = std::env::current_exe().expect("the own path");
    let ended = Command::new(program)
        .arg(crate::LOAD)
        .arg(serde_json::to_string(plan).expect("a plan"))
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .expect("the load can be run");
    assert!(ended.status.success(), "the load failed: {plan:?}");
    serde_json::from_slice(&ended.stdout).expect("an outcome")
}

/// The process of the load: prints the outcome.
pub(crate) fn run(plan: &str) {
    let plan: Plan = serde_json::from_str(plan).expect("a plan");
    // One thread: on a machine with few cores, the proxies need the others.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let within = PATIENCE + plan.warm_up + plan.length;
    let running = async {
        match plan.traffic {
            Traffic::Unary {
                bytes,
                connections,
                streams,
            } => unary(&plan, bytes, connections, streams).await,
            Traffic::Stream { bytes, messages } => stream(&plan, bytes, messages).await,
            Traffic::Http1 { bytes, connections } => pages(&plan, bytes, connections).await,
        }
    };
    let outcome = runtime.block_on(async { timeout(within, running).await });
    let outcome = outcome.expect("the load ends in time");
    let outcome = outcome.expect("every call succeeds");
    println!("{}", serde_json::to_string(&outcome).expect("an outcome"));
}

/// What the workers of a run share.
struct Clock {
    counts: AtomicBool,
    ended: AtomicBool,
    next: AtomicUsize,
    counted: AtomicUsize,
}

/// A worker; it returns the latencies of the calls that ended while they were counted.
type Worker = JoinHandle<Result<Vec<Duration>, Error>>;

impl Clock {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            counts: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            next: AtomicUsize::new(0),
            counted: AtomicUsize::new(0),
        })
    }

    /// The number of a worker's next call; none when it is over.
    fn next(&self) -> Option<usize> {
        (!self.ended.load(Ordering::Relaxed)).then(|| self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// Notes the latency of a call that ends now, if it counts.
    fn note(&self, begun: Instant, latencies: &mut Vec<Duration>) {
        if self.counts.load(Ordering::Relaxed) {
            self.counted.fetch_add(1, Ordering::Relaxed);
            latencies.push(begun.elapsed());
        }
    }

    /// Lets the workers work for as long as planned.
    async fn measure(&self, plan: &Plan, workers: Vec<Worker>) -> Result<Outcome, Error> {
        sleep(plan.warm_up).await;
        let span = Span::begin(plan.process);
        self.counts.store(true, Ordering::Relaxed);
        sleep(plan.length).await;
        // A short run on a slow machine may need longer for its first call.
        while self.counted.load(Ordering::Relaxed) == 0 {
            sleep(Duration::from_millis(10)).await;
        }
        self.counts.store(false, Ordering::Relaxed);
        let (took, used) = span.end();
        self.ended.store(true, Ordering::Relaxed);
        let mut latencies = Vec::new();
        for worker in workers {
            latencies.extend(worker.await??);
        }
        Ok(figures(latencies, took, used))
    }
}

/// The measured time, and the processor time that the proxy uses in it.
struct Span {
    process: u32,
    begun: Instant,
    used: Duration,
}

impl Span {
    fn begin(process: u32) -> Self {
        Self {
            process,
            used: processor::used(process),
            begun: Instant::now(),
        }
    }

    fn end(&self) -> (Duration, Duration) {
        let took = self.begun.elapsed();
        (
            took,
            processor::used(self.process).saturating_sub(self.used),
        )
    }
}

fn figures(mut latencies: Vec<Duration>, took: Duration, used: Duration) -> Outcome {
    assert!(!latencies.is_empty(), "no call has ended");
    latencies.sort_unstable();
    let at = |thousandths: usize| {
        let place = (latencies.len() * thousandths / 1000).min(latencies.len() - 1);
        latencies
            .get(place)
            .copied()
            .unwrap_or_default()
            .as_secs_f64()
            * 1e3
    };
    let calls = latencies.len() as f64;
    Outcome::Measured(Figures {
        processor: used.as_secs_f64() * 1e6 / calls,
        rate: calls / took.as_secs_f64(),
        p50: at(500),
        p99: at(990),
        p999: at(999),
    })
}

/// The URIs of a path at each of the hosts.
fn targets(plan: &Plan, path: &str) -> Arc<[Uri]> {
    let hosts = 0..plan.instances;
    hosts
        .map(|number| {
            let host = match plan.instances {
                1 => "alice.example".to_owned(),
                _ => format!("alice{number}.example"),
            };
            format!("http://{host}{path}").parse().expect("a URI")
        })
        .collect()
}

async fn unary(
    plan: &Plan,
    bytes: usize,
    connections: usize,
    streams: usize,
) -> Result<Outcome, Error> {
    let targets = targets(plan, UNARY_PATH);
    let message = framed(&vec![b'x'; bytes]);
    let clock = Clock::new();
    let mut workers = Vec::new();
    for _ in 0..connections {
        let sender = connect(plan.address).await?;
        for _ in 0..streams {
            let (clock, sender) = (Arc::clone(&clock), sender.clone());
            let (targets, message) = (Arc::clone(&targets), message.clone());
            workers.push(tokio::spawn(async move {
                let mut latencies = Vec::new();
                while let Some(number) = clock.next() {
                    let begun = Instant::now();
                    let target = targets.get(number % targets.len()).expect("a target");
                    call(sender.clone(), target, message.clone()).await?;
                    clock.note(begun, &mut latencies);
                }
                Ok(latencies)
            }));
        }
    }
    clock.measure(plan, workers).await
}

async fn connect(address: SocketAddr) -> Result<SendRequest<Bytes>, Error> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = h2::client::Builder::new()
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .enable_push(false)
        .handshake(stream)
        .await?;
    tokio::spawn(connection);
    Ok(sender)
}

fn head(target: &Uri) -> Request<()> {
    let mut request = Request::new(());
    *request.method_mut() = Method::POST;
    *request.uri_mut() = target.clone();
    let headers = request.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, "application/grpc"),
        (header::TE, "trailers"),
        (header::USER_AGENT, "hamlet-bench"),
    ] {
        headers.insert(name, http::HeaderValue::from_static(value));
    }
    request
}

async fn call(sender: SendRequest<Bytes>, target: &Uri, message: Bytes) -> Result<(), Error> {
    let expected = message.len();
    let (response, mut upload) = sender.ready().await?.send_request(head(target), false)?;
    upload.send_data(message, true)?;
    let (head, mut body) = response.await?.into_parts();
    let mut received = 0;
    while let Some(data) = body.data().await {
        let length = data?.len();
        received += length;
        body.flow_control().release_capacity(length)?;
    }
    finish(&head.headers, &mut body).await?;
    if received != expected {
        return Err(format!("{received} bytes came back instead of {expected}").into());
    }
    Ok(())
}

/// Reads the status of a call after its last message.
async fn finish(headers: &HeaderMap, body: &mut RecvStream) -> Result<(), Error> {
    let trailers = poll_fn(|cx| body.poll_trailers(cx)).await?;
    let trailers = trailers.unwrap_or_default();
    let status = trailers.get("grpc-status").or(headers.get("grpc-status"));
    if status.is_none_or(|status| status != "0") {
        return Err(format!("a call failed: {headers:?} {trailers:?}").into());
    }
    Ok(())
}

async fn stream(plan: &Plan, bytes: usize, messages: usize) -> Result<Outcome, Error> {
    let targets = targets(plan, STREAM_PATH);
    let message = framed(&vec![b'x'; bytes]);
    let size = PREFIX + bytes;
    let sender = connect(plan.address).await?;
    let target = targets.first().expect("a target");
    let (response, mut upload) = sender.ready().await?.send_request(head(target), false)?;
    let places = Arc::new(Semaphore::new(UNDER_WAY));
    let sent = Arc::new(Mutex::new(VecDeque::with_capacity(UNDER_WAY)));
    let sending: JoinHandle<Result<(), Error>> = tokio::spawn({
        let (places, sent) = (Arc::clone(&places), Arc::clone(&sent));
        async move {
            for number in 1..=messages {
                places.acquire().await?.forget();
                let mut sent = sent.lock().unwrap_or_else(PoisonError::into_inner);
                sent.push_back(Instant::now());
                upload.send_data(message.clone(), number == messages)?;
            }
            Ok(())
        }
    });
    let (head, mut body) = response.await?.into_parts();
    let mut latencies = Vec::with_capacity(messages);
    let mut received = 0;
    let mut whole = 0;
    let mut span = None;
    while let Some(data) = body.data().await {
        let length = data?.len();
        received += length;
        body.flow_control().release_capacity(length)?;
        let now = received / size;
        let mut sent = sent.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = sent.drain(..now - whole);
        // What came first includes how long the call took to begin.
        if span.is_some() {
            latencies.extend(sent.map(|sent| sent.elapsed()));
        } else {
            span = Some(Span::begin(plan.process));
        }
        places.add_permits(now - whole);
        whole = now;
    }
    let (took, used) = span.ok_or("nothing came back")?.end();
    finish(&head.headers, &mut body).await?;
    sending.await??;
    if whole != messages {
        return Err(format!("{whole} messages came back instead of {messages}").into());
    }
    Ok(figures(latencies, took, used))
}

async fn pages(plan: &Plan, bytes: usize, connections: usize) -> Result<Outcome, Error> {
    let targets = targets(plan, &format!("/bytes/{bytes}"));
    let clock = Clock::new();
    let mut workers = Vec::new();
    for number in 0..connections {
        let stream = TcpStream::connect(plan.address).await?;
        stream.set_nodelay(true)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        if number == 0 {
            let target = targets.first().expect("a target");
            let (status, _) = page(&mut sender, target).await?;
            if status != StatusCode::OK {
                return Ok(Outcome::NotForwarded(status.as_u16()));
            }
        }
        let (clock, targets) = (Arc::clone(&clock), Arc::clone(&targets));
        workers.push(tokio::spawn(async move {
            let mut latencies = Vec::new();
            while let Some(number) = clock.next() {
                let begun = Instant::now();
                let target = targets.get(number % targets.len()).expect("a target");
                let (status, received) = page(&mut sender, target).await?;
                if (status, received) != (StatusCode::OK, bytes) {
                    return Err(format!("{status} with {received} bytes").into());
                }
                clock.note(begun, &mut latencies);
            }
            Ok(latencies)
        }));
    }
    clock.measure(plan, workers).await
}

/// Gets a page: its status and how many bytes it has.
async fn page(
    sender: &mut http1::SendRequest<Empty<Bytes>>,
    target: &Uri,
) -> Result<(StatusCode, usize), Error> {
    sender.ready().await?;
    let host = target.authority().expect("a host").as_str();
    let request = Request::get(target.path())
        .header(header::HOST, host)
        .header(header::USER_AGENT, "hamlet-bench")
        .body(Empty::new())?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    let mut body = response.into_body();
    let mut received = 0;
    while let Some(frame) = body.frame().await {
        received += frame?.data_ref().map_or(0, Bytes::len);
    }
    Ok((status, received))
}
