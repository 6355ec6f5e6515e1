//! Forwarding HTTP requests that are no gRPC: bodies stream in both directions, and connections may be upgraded.
//!
//! Requests leave as HTTP/1.1, whatever they came as: it can be upgraded, and every server speaks it. Each has a connection
//! for itself while it is at work. What is hop-by-hop (RFC 9110, section 7.6.1) ends here; all else passes.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, Version,
    header::{
        CONNECTION, CONTENT_LENGTH, EXPECT, HOST, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE,
        TRAILER, TRANSFER_ENCODING, UPGRADE,
    },
};
use http_body::{Body, Frame, SizeHint};
use hyper::{
    body::Incoming,
    client::conn::http1::{self, SendRequest},
    upgrade::OnUpgrade,
};
use hyper_util::rt::TokioIo;
use service_kit::{
    peer::{Addresses, CONNECT_WITHIN, Replica, Replicas},
    socket::Socket,
    tls::Tls,
};
use tokio::{
    sync::oneshot,
    time::{Instant, Sleep, sleep, timeout},
};
use tonic::Status;

use super::{
    Forwarder, Whose,
    active::{Exchange, Running, Stream},
};
use crate::{accept::Connection, refusal::Refusal, route::Service};

/// The most connections that are kept for later at each replica.
const KEPT: usize = 64;

/// How long one is kept.
const KEPT_FOR: Duration = Duration::from_secs(30);

/// How long a body is held back for a service that has yet to say whether it wants it (RFC 9110, section 10.1.1).
const CONTINUE_WITHIN: Duration = Duration::from_secs(1);

/// What counts as for ever: an event stream has no deadline.
const FOR_EVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// Headers that are for one hop only, besides those that `Connection` names.
const HOP_BY_HOP: [HeaderName; 8] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Connections to the replicas of one service, each for one request at a time.
pub(super) struct HttpUpstream {
    replicas: Replicas<Idle>,
    tls: Option<Tls>,
}

/// The connections to one replica that nobody uses now.
#[derive(Default)]
struct Idle(Mutex<Vec<(SendRequest<Upload>, Instant)>>);

impl Idle {
    fn take(&self) -> Option<SendRequest<Upload>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some((sender, since)) = kept.pop() {
            if sender.is_ready() && since.elapsed() < KEPT_FOR {
                return Some(sender);
            }
        }
        None
    }

    fn keep(&self, sender: SendRequest<Upload>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(sender, since)| !sender.is_closed() && since.elapsed() < KEPT_FOR);
        if kept.len() < KEPT {
            kept.push((sender, Instant::now()));
        }
    }
}

/// A connection while its request is at work.
struct Lease {
    sender: SendRequest<Upload>,
    replica: Arc<Replica<Idle>>,
}

impl Lease {
    /// Keeps the connection for another request, once it is ready for one.
    fn end(mut self) {
        if self.sender.is_ready() {
            self.replica.connections.keep(self.sender);
            return;
        }
        tokio::spawn(async move {
            if self.sender.ready().await.is_ok() {
                self.replica.connections.keep(self.sender);
            }
        });
    }
}

impl HttpUpstream {
    pub(super) fn new(addresses: Addresses, tls: Option<Tls>) -> Self {
        Self {
            replicas: Replicas::new(addresses, Idle::default),
            tls,
        }
    }

    /// Sends a request to a replica that can be reached. It is sent again only if it never left.
    async fn send(
        &self,
        mut request: Request<Upload>,
    ) -> Result<(Response<Incoming>, Lease), SendError> {
        let mut tried = Vec::new();
        let mut failure = SendError::Connect(io::ErrorKind::NotFound.into());
        while let Some(replica) = self.replicas.pick(&tried).await {
            loop {
                let (mut sender, is_new) = match replica.connections.take() {
                    Some(sender) => (sender, false),
                    None => match timeout(CONNECT_WITHIN, self.connect(&replica)).await {
                        Ok(Ok(sender)) => (sender, true),
                        Ok(Err(error)) => {
                            failure = SendError::Connect(error);
                            break;
                        }
                        Err(_late) => {
                            failure = SendError::Connect(io::ErrorKind::TimedOut.into());
                            break;
                        }
                    },
                };
                match sender.try_send_request(request).await {
                    Ok(response) => {
                        replica.worked();
                        return Ok((response, Lease { sender, replica }));
                    }
                    Err(mut error) => match error.take_message() {
                        Some(unsent) => {
                            request = unsent;
                            failure = SendError::Broken(error.into_error());
                            if is_new {
                                break;
                            }
                        }
                        None => return Err(SendError::Broken(error.into_error())),
                    },
                }
            }
            replica.failed();
            tried.push(replica.address());
        }
        Err(failure)
    }

    async fn connect(&self, replica: &Replica<Idle>) -> io::Result<SendRequest<Upload>> {
        let socket = Socket::connect(replica.address(), replica.host(), self.tls.as_ref()).await?;
        let (mut sender, connection) = http1::Builder::new()
            .preserve_header_case(false)
            .handshake(TokioIo::new(socket))
            .await
            .map_err(io::Error::other)?;
        tokio::spawn(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "a connection to a service ended");
            }
        });
        sender.ready().await.map_err(io::Error::other)?;
        Ok(sender)
    }
}

/// Why a request got no response.
#[derive(Debug, thiserror::Error)]
enum SendError {
    #[error("cannot connect: {0}")]
    Connect(#[source] io::Error),
    #[error("the connection broke off: {0}")]
    Broken(#[source] hyper::Error),
}

impl Forwarder {
    /// Forwards a request that is no gRPC to `service`. Fails when the service gives no response.
    pub(crate) async fn forward_http(
        &self,
        service: Service,
        whose: Whose<'_>,
        connection: &Arc<Connection>,
        request: Request<Incoming>,
    ) -> Result<Response<HttpDownload>, Refusal> {
        let lane = self.lane(service);
        lane.turns.count(whose.wants())?;
        let turn = lane.turns.take(whose.wants(), &lane.active).await?;
        let running = lane.active.begin(
            Instant::now() + FOR_EVER,
            whose.caller(),
            whose.entry.map(Arc::clone),
            turn,
        );
        let exchange = Arc::clone(running.exchange());
        let (mut head, body) = request.into_parts();
        let upgrade = Upgrade::asked(&mut head);
        let trailers = head.headers.get(TE).is_some_and(|te| te == "trailers");
        remove_hop_by_hop(&mut head.headers);
        self.rewrite(&mut head.headers, whose)?;
        // A body is framed anew. What its sender said of its length counts only if the body has that length.
        head.headers.remove(CONTENT_LENGTH);
        if let Some(length) = body.size_hint().exact()
            && (length > 0 || is_with_body(&head.method))
        {
            head.headers.insert(CONTENT_LENGTH, length.into());
        }
        if trailers {
            head.headers
                .insert(TE, HeaderValue::from_static("trailers"));
        }
        if let Some(upgrade) = &upgrade {
            upgrade.ask(&mut head.headers);
        }
        let authority = whose.host.authority().as_str();
        head.headers.insert(
            HOST,
            HeaderValue::from_str(authority).map_err(|_| Refusal::Path)?,
        );
        head.version = Version::HTTP_11;
        let path = head.uri.path_and_query().cloned();
        head.uri = path.map_or_else(|| Uri::from_static("/"), Uri::from);
        let (open, gate) = oneshot::channel();
        let waits = head.headers.contains_key(EXPECT);
        let mut request = Request::from_parts(
            head,
            Upload {
                body,
                gate: waits.then(|| Gate::new(gate)),
                exchange: Arc::clone(&exchange),
            },
        );
        if waits {
            let open = Mutex::new(Some(open));
            hyper::ext::on_informational(&mut request, move |response| {
                if response.status() == StatusCode::CONTINUE {
                    let open = open.lock().unwrap_or_else(PoisonError::into_inner).take();
                    // The receiver is gone when the request is over.
                    let _ = open.map(|open| open.send(()));
                }
            });
        }

        let sent = tokio::select! {
            biased;
            sent = timeout(self.deadline, lane.http.send(request)) => {
                sent.map_err(|_late| Refusal::DeadlineExceeded)?
            }
            () = exchange.over() => {
                let why = exchange.end_reason();
                return Err(why.map_or(Refusal::DeadlineExceeded, Refusal::from));
            }
        };
        let service = service.name();
        let (mut response, lease) = sent.map_err(|error| {
            if let Some(unseen) = lane.out_of_reach.now() {
                tracing::warn!(%error, service, unseen, "a request got no response");
            }
            match error {
                SendError::Connect(_) => Refusal::ServiceUnreachable { service },
                SendError::Broken(_) => Refusal::BrokenOff {
                    service,
                    code: tonic::Code::Unavailable,
                },
            }
        })?;
        let switched = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        let theirs = switched.then(|| hyper::upgrade::on(&mut response));
        let (mut head, body) = response.into_parts();
        let protocol = head.headers.get(UPGRADE).cloned();
        remove_hop_by_hop(&mut head.headers);
        remove_ours(&mut head.headers);
        head.version = Version::HTTP_11;
        if let Some(theirs) = theirs {
            // A switch that nobody asked for, or to what nobody asked for, is no response.
            let Some((upgrade, protocol)) = upgrade.zip(protocol) else {
                return Err(Refusal::BrokenOff {
                    service,
                    code: tonic::Code::Unavailable,
                });
            };
            head.headers
                .insert(CONNECTION, HeaderValue::from_static("upgrade"));
            head.headers.insert(UPGRADE, protocol);
            let connection = Arc::clone(connection);
            // The turn is given back: a tunnel may last for days, and is bounded as a connection.
            drop(running);
            tokio::spawn(tunnel(upgrade.ours, theirs, connection));
            return Ok(Response::from_parts(head, HttpDownload::none()));
        }
        exchange.receive(Stream::Http(body));
        let download = HttpDownload {
            running: Some(running),
            lease: Some(lease),
        };
        Ok(Response::from_parts(head, download))
    }
}

/// Whether a request of this method without a body says so by its length (RFC 9110, section 8.6).
fn is_with_body(method: &Method) -> bool {
    [Method::POST, Method::PUT, Method::PATCH].contains(method)
}

/// A wish for another protocol, such as WebSocket.
struct Upgrade {
    protocol: HeaderValue,
    ours: OnUpgrade,
}

impl Upgrade {
    /// HTTP/2 has no such wish.
    fn asked(head: &mut http::request::Parts) -> Option<Self> {
        let is_asked = head.version == Version::HTTP_11
            && listed(&head.headers, &CONNECTION)
                .any(|option| option.eq_ignore_ascii_case("upgrade"));
        let protocol = head.headers.get(UPGRADE).filter(|_| is_asked)?.clone();
        let ours = head.extensions.remove::<OnUpgrade>()?;
        Some(Self { protocol, ours })
    }

    fn ask(&self, headers: &mut HeaderMap) {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, self.protocol.clone());
    }
}

/// Carries bytes in both directions until both have ended.
async fn tunnel(ours: OnUpgrade, theirs: OnUpgrade, connection: Arc<Connection>) {
    let _busy = connection.begin();
    let carrying = async {
        let (ours, theirs) = futures::future::try_join(ours, theirs).await?;
        let (mut ours, mut theirs) = (TokioIo::new(ours), TokioIo::new(theirs));
        if let Err(error) = tokio::io::copy_bidirectional(&mut ours, &mut theirs).await {
            tracing::debug!(%error, "a tunnel broke off");
        }
        Ok::<_, hyper::Error>(())
    };
    tokio::select! {
        carried = carrying => if let Err(error) = carried {
            tracing::debug!(%error, "a connection was not upgraded");
        },
        () = connection.over() => {}
    }
}

fn listed<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
}

fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = listed(headers, &CONNECTION)
        .filter_map(|name| name.parse().ok())
        // These cannot be for one hop, whatever a sender says: services would lose what the gateway tells them.
        .filter(|name| ![HOST, CONTENT_LENGTH, TRAILER].contains(name))
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

/// What is said between the gateway and its services stays there.
fn remove_ours(headers: &mut HeaderMap) {
    let ours: Vec<HeaderName> = headers
        .keys()
        .filter(|name| name.as_str().starts_with("x-hamlet-"))
        .cloned()
        .collect();
    for name in ours {
        headers.remove(name);
    }
}

/// Holds a body back until the service wants it.
struct Gate {
    opened: oneshot::Receiver<()>,
    is_unwanted: bool,
    late: Pin<Box<Sleep>>,
}

impl Gate {
    fn new(opened: oneshot::Receiver<()>) -> Self {
        Self {
            opened,
            is_unwanted: false,
            late: Box::pin(sleep(CONTINUE_WITHIN)),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // The sender goes without a word when the response has come; then nobody wants the body.
        if !self.is_unwanted {
            match Pin::new(&mut self.opened).poll(cx) {
                Poll::Ready(Ok(())) => return Poll::Ready(()),
                Poll::Ready(Err(_)) => self.is_unwanted = true,
                Poll::Pending => {}
            }
        }
        self.late.as_mut().poll(cx)
    }
}

/// The body of a request on its way to the service.
pub(super) struct Upload {
    body: Incoming,
    gate: Option<Gate>,
    exchange: Arc<Exchange>,
}

impl Body for Upload {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = &mut *self;
        if let Some(gate) = &mut this.gate {
            ready!(gate.poll(cx));
            this.gate = None;
        }
        let polled = Pin::new(&mut this.body).poll_frame(cx);
        this.exchange.is_unsent(polled.is_pending());
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The body of a service's response. Dropping it before its end closes the connection to the service.
pub(crate) struct HttpDownload {
    running: Option<Running>,
    lease: Option<Lease>,
}

impl HttpDownload {
    const fn none() -> Self {
        Self {
            running: None,
            lease: None,
        }
    }

    fn end(&mut self) {
        self.running = None;
        if let Some(lease) = self.lease.take() {
            lease.end();
        }
    }
}

impl Body for HttpDownload {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        let Some(running) = &this.running else {
            return Poll::Ready(None);
        };
        let exchange = Arc::clone(running.exchange());
        let next = exchange.with_stream(|stream| match stream {
            Stream::Http(body) => Pin::new(body).poll_frame(cx),
            Stream::Grpc(_) => Poll::Ready(None),
        });
        let broken = match next {
            Ok(Poll::Ready(Some(Ok(frame)))) => {
                exchange.is_unread(true);
                return Poll::Ready(Some(Ok(frame)));
            }
            Ok(Poll::Ready(None)) => {
                this.end();
                return Poll::Ready(None);
            }
            Ok(Poll::Pending) => {
                exchange.is_unread(false);
                return Poll::Pending;
            }
            Ok(Poll::Ready(Some(Err(error)))) => {
                tracing::debug!(%error, "a response broke off");
                Status::unavailable("the response broke off")
            }
            Err(why) => why.map_or_else(
                || Status::unavailable("the response broke off"),
                |why| Status::from(&Refusal::from(why)),
            ),
        };
        // An error breaks the caller's stream off: the end of a body is never pretended.
        this.running = None;
        this.lease = None;
        Poll::Ready(Some(Err(broken)))
    }

    fn is_end_stream(&self) -> bool {
        match &self.running {
            None => true,
            Some(running) => running
                .exchange()
                .peek(|stream| matches!(stream, Stream::Http(body) if body.is_end_stream()))
                .unwrap_or(false),
        }
    }

    fn size_hint(&self) -> SizeHint {
        let hint = self.running.as_ref().and_then(|running| {
            running.exchange().peek(|stream| match stream {
                Stream::Http(body) => body.size_hint(),
                Stream::Grpc(_) => SizeHint::default(),
            })
        });
        hint.unwrap_or_else(|| SizeHint::with_exact(0))
    }
}
