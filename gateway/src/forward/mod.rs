//! Forwarding gRPC calls to a service: bodies, trailers, flow control and cancellation pass unchanged.
//!
//! A call first arrives ([`arrival`]), then takes its turn ([`turns`]), then is sent ([`upstream`]) and answered ([`call`]).
//! Meanwhile it can be ended from outside ([`active`]). A call of one small message needs no task of its own.

mod active;
mod arrival;
pub(crate) mod backend;
mod call;
pub(crate) mod deadline;
mod headers;
mod http;
mod lane;
mod limits;
mod turns;
mod upstream;
mod withdrawal;

use std::{sync::Arc, time::Duration};

use ::http::{
    HeaderValue, Request, Response, Uri, Version,
    uri::{Parts, Scheme},
};
use hyper::body::Incoming;
use service_kit::{caller::Door, secret::Keyring, telemetry::Trace};
use tokio::time::{Instant, sleep_until};

use self::{
    active::{Active, Holder},
    arrival::{Arrival, Room},
    headers::KeyHeader,
    http::HttpUpstream,
    lane::{Lane, Outgoing, Sent},
    turns::{For, TurnLimits, Turns},
    upstream::Upstream,
};
pub(crate) use self::{
    backend::Backends,
    call::Download,
    http::{HttpDownload, Target},
    withdrawal::Withdrawal,
};
use crate::{
    Config, Error,
    caller::CallerKey,
    directory::{Directory, HostEntry},
    gate::Passage,
    host::Host,
    identities::Identity,
    proxied::{Client, LastLines},
    refusal::Refusal,
    route::Service,
    seldom::Seldom,
    services::Services,
};

/// How often a call is sent at most, each time because a service that shuts down did not process it.
const ATTEMPTS: usize = 3;

/// A call that has waited for longer than this is looked at once more before it is sent.
const MOMENT: Duration = Duration::from_millis(100);

/// How much of a caller's body is kept in order to send it again, in bytes. Most calls are one small message.
const KEPT: usize = 16 * 1024;

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
        Self::new(Door::Public, TurnLimits::of_public(config))
    }

    pub(crate) fn of_admin(config: &Config) -> Self {
        Self::new(
            Door::Admin,
            TurnLimits {
                service: config.limits.streams_per_service,
                instance: None,
                caller: None,
                instance_rate: None,
                caller_rate: None,
                patience: config.limits.queue_timeout,
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

    /// The calls at work, for each service.
    fn active(&self) -> impl Iterator<Item = &Arc<Active>> {
        self.services.iter().map(|shared| &shared.active)
    }

    /// Ends calls whose time is over though nobody polls them, without end.
    pub(crate) async fn watch(&self) {
        let watched = self.services.iter().map(|shared| shared.active.watch());
        futures::future::join_all(watched).await;
    }
}

/// Forwards the calls of one thread of a door to the services.
pub(crate) struct Forwarder {
    lanes: [Lane; 3],
    room: Room,
    key: KeyHeader,
    door: HeaderValue,
    deadline: Duration,
    backends: Arc<Backends>,
    /// Says whether a call that has waited still passes. At a door without a gate there is none.
    directory: Option<Arc<Directory>>,
}

/// Whose call it is.
#[derive(Clone, Copy)]
pub(crate) struct Whose<'a> {
    pub(crate) client: &'a Client,
    pub(crate) host: &'a Host,
    /// The instance that it is for.
    pub(crate) entry: Option<&'a Arc<HostEntry>>,
    /// Who calls; `None` where it does not count.
    pub(crate) identity: Option<&'a Identity>,
    /// What it wants of the instance.
    pub(crate) passage: Passage,
    pub(crate) trace: &'a Trace,
    pub(crate) last_lines: &'a LastLines,
}

impl Whose<'_> {
    /// What the limits of its client are counted by.
    pub(crate) fn caller(&self) -> CallerKey {
        CallerKey::of(self.client.address)
    }

    fn holder(&self) -> Holder {
        Holder {
            caller: self.caller(),
            instance: self.entry.map(Arc::clone),
            passage: self.passage,
        }
    }

    fn wants(&self) -> For<'_> {
        For {
            caller: Some(self.caller()),
            instance: self.entry.map(|entry| entry.tenant.id.as_str()),
        }
    }
}

impl Forwarder {
    /// `threads` is how many of these there are at the door.
    pub(crate) fn new(
        config: &Config,
        services: &Services,
        key: &Keyring,
        limits: &Limits,
        backends: &Arc<Backends>,
        directory: Option<&Arc<Directory>>,
        threads: usize,
    ) -> Result<Self, Error> {
        let lanes = limits.services.each_ref().map(|shared| Lane {
            service: shared.service,
            upstream: Upstream::new(
                services.addresses(shared.service).clone(),
                services.tls.clone(),
                config.limits.upstream_connections.div_ceil(threads),
                config.limits.streams_per_service,
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
            deadline: config.limits.deadline,
            backends: Arc::clone(backends),
            directory: directory.map(Arc::clone),
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

    /// Refuses a call that has waited, if the state of its instance does not let it pass any more.
    async fn require_open(&self, whose: Whose<'_>) -> Result<(), Refusal> {
        let (Some(directory), Some(then)) = (&self.directory, whose.entry) else {
            return Ok(());
        };
        let now = directory.look(whose.host).await;
        if withdrawal::passes(whose.passage, then, &now) {
            Ok(())
        } else {
            Err(Refusal::Withdrawn)
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
        lane.turns.count(whose.wants())?;
        let (mut head, body) = request.into_parts();
        self.rewrite(&mut head.headers, whose)?;
        head.version = Version::HTTP_2;
        head.extensions.clear();
        head.uri = uri(whose.host, std::mem::take(&mut head.uri))?;

        let mut arrival = Arrival::new(body);
        let begun = Instant::now();
        let turn = tokio::select! {
            biased;
            turn = lane.turn(whose, &mut arrival, &self.room) => turn?,
            () = late.as_mut() => return Err(Refusal::DeadlineExceeded),
        };
        if begun.elapsed() > MOMENT {
            self.require_open(whose).await?;
        }
        arrival.has_turn();
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
}

fn uri(host: &Host, uri: Uri) -> Result<Uri, Refusal> {
    let mut parts = Parts::default();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = Some(host.authority().clone());
    parts.path_and_query = uri.into_parts().path_and_query;
    Uri::from_parts(parts).map_err(|_| Refusal::Path)
}
