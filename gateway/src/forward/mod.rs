//! Forwarding gRPC calls to a service: bodies, trailers, flow control and cancellation pass unchanged.
//!
//! A call first arrives ([`arrival`]), then takes its turn ([`turns`]), then is sent ([`upstream`]) and answered ([`call`]).
//! Meanwhile it can be ended from outside ([`active`]). A call of one small message needs no task of its own.

mod active;
mod arrival;
mod call;
pub(crate) mod deadline;
mod http;
mod limits;
mod turns;
mod upstream;

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use ::http::{
    HeaderMap, HeaderName, HeaderValue, Request, Response, Uri, Version,
    header::HOST,
    uri::{Parts, Scheme},
};
use bytes::Bytes;
use futures::future::poll_immediate;
use hyper::body::Incoming;
use service_kit::{
    caller::{DOOR_HEADER, Door, KEY_HEADER, TENANT_HEADER},
    peer,
    secret::Keyring,
    telemetry::Trace,
};
use tokio::time::{Instant, Sleep, sleep_until, timeout};
use tonic::Status;

use self::{
    active::{Active, Stream},
    arrival::{Arrival, Gone, Progress, Room},
    http::HttpUpstream,
    turns::{For, Turn, TurnLimits, Turns},
    upstream::Upstream,
};
pub(crate) use self::{call::Download, http::HttpDownload};
use crate::{
    Config, Error,
    caller::CallerKey,
    directory::HostEntry,
    host::Host,
    proxied::{Client, LastLines},
    refusal::Refusal,
    route::Service,
    seldom::Seldom,
    services::Services,
};

/// How often a call is sent at most, each time because a service that shuts down did not process it.
const ATTEMPTS: usize = 3;

/// How much of a caller's body is kept in order to send it again, in bytes. Most calls are one small message.
const KEPT: usize = 16 * 1024;

/// How long the first message may take before the call tries to go on without it, now and then: a service may speak
/// first.
const FIRST_MESSAGE_WITHIN: Duration = Duration::from_secs(1);

/// The limits of one door. All threads of the door share them.
pub(crate) struct Limits {
    door: Door,
    services: [Shared; 3],
    room: Room,
}

/// The calls to one service.
struct Shared {
    service: Service,
    turns: Arc<Turns>,
    active: Arc<Active>,
}

impl Limits {
    pub(crate) fn of_public(config: &Config) -> Self {
        Self::new(
            Door::Public,
            TurnLimits {
                service: config.streams_per_service,
                instance: Some(config.streams_per_instance),
                caller: Some(config.streams_per_client),
                patience: config.queue_timeout,
            },
        )
    }

    pub(crate) fn of_admin(config: &Config) -> Self {
        Self::new(
            Door::Admin,
            TurnLimits {
                service: config.streams_per_service,
                instance: None,
                caller: None,
                patience: config.queue_timeout,
            },
        )
    }

    fn new(door: Door, limits: TurnLimits) -> Self {
        let shared = |service| Shared {
            service,
            turns: Arc::new(Turns::new(limits)),
            active: Arc::new(Active::new()),
        };
        Self {
            door,
            services: [Service::Instances, Service::Files, Service::Apps].map(shared),
            room: Room::default(),
        }
    }

    /// Ends calls whose time is over though nobody polls them. Returns when the door is gone.
    pub(crate) fn watch(&self) -> impl Future<Output = ()> + Send + use<> {
        let watched = self.services.each_ref();
        let watched = watched.map(|shared| Active::watch(Arc::downgrade(&shared.active)));
        async move {
            futures::future::join_all(watched).await;
        }
    }
}

/// Forwards the calls of one thread of a door to the services.
pub(crate) struct Forwarder {
    lanes: [Lane; 3],
    room: Room,
    key: KeyHeader,
    door: HeaderValue,
    deadline: Duration,
}

struct Lane {
    service: Service,
    upstream: Upstream,
    http: HttpUpstream,
    turns: Arc<Turns>,
    active: Arc<Active>,
    out_of_reach: Seldom,
}

/// Whose call it is.
#[derive(Clone, Copy)]
pub(crate) struct Whose<'a> {
    pub(crate) client: &'a Client,
    pub(crate) host: &'a Host,
    /// The instance that it is for.
    pub(crate) entry: Option<&'a Arc<HostEntry>>,
    pub(crate) trace: &'a Trace,
    pub(crate) last_lines: &'a LastLines,
}

impl Whose<'_> {
    fn caller(&self) -> CallerKey {
        CallerKey::of(self.client.address)
    }

    fn wants(&self) -> For<'_> {
        For {
            caller: Some(self.caller()),
            instance: self.entry.map(|entry| entry.tenant.id.as_str()),
        }
    }
}

/// A call that has its turn.
struct Outgoing {
    turn: Turn,
    pieces: Vec<Bytes>,
    trailers: Option<HeaderMap>,
    /// What the caller has yet to send.
    rest: Option<Incoming>,
    late: Pin<Box<Sleep>>,
}

/// What came of sending a call.
enum Sent {
    Answered(Response<Download>),
    /// The service shuts down and has not processed the call: it may be sent again.
    NotProcessed(Turn, Pin<Box<Sleep>>),
}

impl Lane {
    /// Waits for the call's first message, then for its turn.
    async fn turn(
        &self,
        whose: Whose<'_>,
        arrival: &mut Arrival,
        room: &Room,
    ) -> Result<Turn, Refusal> {
        let key = whose.caller();
        // Most calls have arrived, and need no timer.
        let mut arrived = poll_immediate(arrival.first_message(room, key)).await;
        loop {
            match arrived {
                Some(Ok(Progress::Arrived)) => {
                    return self.turns.take(whose.wants(), &self.active).await;
                }
                Some(Ok(Progress::NoRoom)) => return Err(Refusal::TooManyCalls),
                Some(Err(Gone)) => return Err(Refusal::CallerGone),
                None => {
                    let arriving = arrival.first_message(room, key);
                    arrived = timeout(FIRST_MESSAGE_WITHIN, arriving).await.ok();
                }
            }
            if arrived.is_none()
                && let Some(turn) = self.turns.try_early(whose.wants())
            {
                return Ok(turn);
            }
        }
    }

    /// Sends a call to one replica. Fails when the service gives no response.
    async fn send(
        &self,
        whose: Whose<'_>,
        request: &Request<()>,
        call: Outgoing,
    ) -> Result<Sent, Refusal> {
        let service = self.service.name();
        let Outgoing {
            turn,
            pieces,
            trailers,
            rest,
            mut late,
        } = call;
        let is_empty = pieces.is_empty() && trailers.is_none() && rest.is_none();
        let opened = tokio::select! {
            biased;
            opened = self.upstream.open(request, is_empty) => opened,
            () = late.as_mut() => return Err(Refusal::DeadlineExceeded),
        };
        let (response, mut stream) = opened.map_err(|error| {
            if let Some(unseen) = self.out_of_reach.now() {
                let mut trace = whose.trace.clone();
                trace.show(request.uri().path()).in_scope(|| {
                    tracing::warn!(error = %chain(&error), service, unseen, "a service is out of reach");
                });
            }
            Refusal::ServiceUnreachable { service }
        })?;

        let running = self.active.begin(
            late.deadline(),
            whose.caller(),
            whose.entry.map(Arc::clone),
            turn,
        );
        let exchange = Arc::clone(running.exchange());
        let is_uploading = rest.is_some();
        // What fails here shows in the response too.
        let _ = send_arrived(&mut stream, pieces, trailers, is_uploading || is_empty);
        if let Some(rest) = rest {
            tokio::spawn(call::upload(rest, stream, Arc::clone(&exchange)));
        }
        let response = tokio::select! {
            biased;
            response = response => response,
            () = late.as_mut() => return Err(Refusal::DeadlineExceeded),
            () = exchange.over(), if is_uploading => {
                let why = exchange.end_reason();
                return Err(why.map_or(Refusal::DeadlineExceeded, Refusal::from));
            }
        };
        match response {
            Ok(response) => {
                let (mut head, stream) = response.into_parts();
                head.version = Version::HTTP_11;
                if is_unknown_method(&head.headers) {
                    return Err(Refusal::NoSuchMethod {
                        path: request.uri().path().to_owned(),
                    });
                }
                limits::shorten(&mut head.headers);
                let is_whole = stream.is_end_stream();
                exchange.receive(Stream::Grpc(stream));
                let download = Download::new(running, late, is_whole, service);
                Ok(Sent::Answered(Response::from_parts(head, download)))
            }
            Err(error) => {
                if call::was_not_processed(&error)
                    && !is_uploading
                    && let Some(turn) = exchange.take_turn()
                {
                    return Ok(Sent::NotProcessed(turn, late));
                }
                if let Some(unseen) = self.out_of_reach.now() {
                    tracing::warn!(%error, service, unseen, "a call broke off before its answer");
                }
                Err(Refusal::BrokenOff {
                    service,
                    code: call::code(&error),
                })
            }
        }
    }
}

/// Whether a service knows no such method. Servers say so by a code alone.
fn is_unknown_method(headers: &HeaderMap) -> bool {
    headers
        .get(Status::GRPC_STATUS)
        .is_some_and(|code| code == "12")
        && !headers.contains_key(Status::GRPC_MESSAGE)
}

/// Sends what has arrived. It may exceed the service's flow-control window: it is little, and waits in the connection.
fn send_arrived(
    stream: &mut h2::SendStream<Bytes>,
    pieces: Vec<Bytes>,
    trailers: Option<HeaderMap>,
    goes_on: bool,
) -> Result<(), h2::Error> {
    let ends_with_data = !goes_on && trailers.is_none();
    let mut pieces = pieces.into_iter().peekable();
    if pieces.peek().is_none() && ends_with_data {
        stream.send_data(Bytes::new(), true)?;
    }
    while let Some(piece) = pieces.next() {
        stream.send_data(piece, ends_with_data && pieces.peek().is_none())?;
    }
    if let Some(trailers) = trailers {
        stream.send_trailers(trailers)?;
    }
    Ok(())
}

impl Forwarder {
    /// `threads` is how many of these there are at the door.
    pub(crate) fn new(
        config: &Config,
        services: &Services,
        key: &Keyring,
        limits: &Limits,
        threads: usize,
    ) -> Result<Self, Error> {
        let lanes = limits.services.each_ref().map(|shared| Lane {
            service: shared.service,
            upstream: Upstream::new(
                services.addresses(shared.service).clone(),
                services.tls.clone(),
                config.upstream_connections.div_ceil(threads),
                config.streams_per_service,
            ),
            http: HttpUpstream::new(
                services.addresses(shared.service).clone(),
                services.tls.clone(),
            ),
            turns: Arc::clone(&shared.turns),
            active: Arc::clone(&shared.active),
            out_of_reach: Seldom::default(),
        });
        Ok(Self {
            lanes,
            room: limits.room.clone(),
            key: KeyHeader::new(key)?,
            door: HeaderValue::from_static(limits.door.as_str()),
            deadline: config.deadline,
        })
    }

    const fn lane(&self, service: Service) -> &Lane {
        let [instances, files, apps] = &self.lanes;
        match service {
            Service::Instances => instances,
            Service::Files => files,
            Service::Apps => apps,
        }
    }

    /// Forwards a call to `service`. Fails when the service gives no response.
    pub(crate) async fn forward(
        &self,
        service: Service,
        whose: Whose<'_>,
        request: Request<Incoming>,
    ) -> Result<Response<Download>, Refusal> {
        let allowed = deadline::of(request.headers(), self.deadline)?;
        let deadline = Instant::now() + allowed;
        let mut late = Box::pin(sleep_until(deadline));
        let lane = self.lane(service);
        let (mut head, body) = request.into_parts();
        self.rewrite(&mut head.headers, whose)?;
        head.version = Version::HTTP_2;
        head.extensions.clear();
        head.uri = uri(whose.host, std::mem::take(&mut head.uri))?;

        let mut arrival = Arrival::new(body);
        let turn = tokio::select! {
            biased;
            turn = lane.turn(whose, &mut arrival, &self.room) => turn?,
            () = late.as_mut() => return Err(Refusal::DeadlineExceeded),
        };
        let mut request = Request::from_parts(head, ());
        let kept = (arrival.is_whole && arrival.size() <= KEPT && arrival.trailers.is_none())
            .then(|| arrival.pieces.clone());
        let mut call = Outgoing {
            turn,
            pieces: arrival.pieces,
            trailers: arrival.trailers,
            rest: (!arrival.is_whole).then_some(arrival.rest),
            late,
        };
        for _ in 0..ATTEMPTS {
            let left = deadline.saturating_duration_since(Instant::now());
            request
                .headers_mut()
                .insert(deadline::TIMEOUT_HEADER, deadline::header(left));
            match lane.send(whose, &request, call).await? {
                Sent::Answered(response) => return Ok(response),
                Sent::NotProcessed(turn, late) => {
                    let Some(pieces) = kept.clone() else {
                        break;
                    };
                    call = Outgoing {
                        turn,
                        pieces,
                        trailers: None,
                        rest: None,
                        late,
                    };
                }
            }
        }
        Err(Refusal::ServiceUnreachable {
            service: service.name(),
        })
    }

    /// Replaces the headers that services trust: those that the client sent are removed first.
    fn rewrite(&self, headers: &mut HeaderMap, whose: Whose<'_>) -> Result<(), peer::Error> {
        let ours: Vec<HeaderName> = headers
            .keys()
            .filter(|name| name.as_str().starts_with("x-hamlet-"))
            .cloned()
            .collect();
        for name in ours {
            headers.remove(name);
        }
        // The host is in `:authority` from here on.
        headers.remove(HOST);
        headers.insert(KEY_HEADER, self.key.now()?);
        headers.insert(DOOR_HEADER, self.door.clone());
        whose.last_lines.of(whose.client, whose.host).write(headers);
        whose.trace.inject(headers);
        if let Some(entry) = whose.entry {
            headers.insert(TENANT_HEADER, entry.header.clone());
        }
        Ok(())
    }
}

/// The header with the cluster key, made anew now and then: the key may change.
struct KeyHeader {
    key: Keyring,
    made: Mutex<(Instant, HeaderValue)>,
}

impl KeyHeader {
    /// Shorter than any time for which a previous key is accepted.
    const FRESH: Duration = Duration::from_millis(500);

    fn new(key: &Keyring) -> Result<Self, peer::Error> {
        Ok(Self {
            made: Mutex::new((Instant::now(), Self::make(key)?)),
            key: key.clone(),
        })
    }

    fn make(key: &Keyring) -> Result<HeaderValue, peer::Error> {
        let mut header =
            HeaderValue::try_from(key.current().expose()).map_err(|_| peer::Error::Key)?;
        header.set_sensitive(true);
        Ok(header)
    }

    fn now(&self) -> Result<HeaderValue, peer::Error> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if made.0.elapsed() >= Self::FRESH {
            *made = (Instant::now(), Self::make(&self.key)?);
        }
        Ok(made.1.clone())
    }
}

fn uri(host: &Host, uri: Uri) -> Result<Uri, Refusal> {
    let mut parts = Parts::default();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = Some(host.authority().clone());
    parts.path_and_query = uri.into_parts().path_and_query;
    Uri::from_parts(parts).map_err(|_| Refusal::Path)
}

fn chain(error: &dyn std::error::Error) -> String {
    error
        .source()
        .map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}
