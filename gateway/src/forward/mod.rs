//! gRPC calls on their way to a service, untouched: bodies, trailers, flow control, cancellation.

mod call;
mod deadline;
mod turns;
mod upstream;

use http::{
    HeaderMap, HeaderName, HeaderValue, Request, Response, Uri, Version,
    header::HOST,
    uri::{Parts, Scheme},
};
use http_body::Body as _;
use hyper::body::Incoming;
use service_kit::{
    caller::{DOOR_HEADER, Door, KEY_HEADER, TENANT_HEADER},
    peer,
    secret::Keyring,
    status::Failure,
    telemetry,
};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

pub(crate) use self::call::Download;
use self::{call::Signals, turns::Turns, upstream::Upstream};
use crate::{
    Config, Error, answer::Body, directory::Place, host::Host, route::Service, services::Services,
};

/// How much one door may ask of the services.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    door: Door,
    connections: usize,
    per_instance: Option<usize>,
}

impl Limits {
    pub(crate) const fn of_public(config: &Config) -> Self {
        Self {
            door: Door::Public,
            connections: config.upstream_connections,
            per_instance: Some(config.streams_per_instance),
        }
    }

    pub(crate) const fn of_admin(config: &Config) -> Self {
        Self {
            door: Door::Admin,
            connections: config.upstream_connections,
            per_instance: None,
        }
    }
}

/// Carries the calls of one door to the services.
pub(crate) struct Forwarder {
    instances: Lane,
    files: Lane,
    apps: Lane,
    key: Keyring,
    door: HeaderValue,
    deadline: std::time::Duration,
}

struct Lane {
    upstream: Upstream,
    turns: Turns,
}

impl Forwarder {
    pub(crate) fn new(
        config: &Config,
        services: &Services,
        key: &Keyring,
        limits: Limits,
    ) -> Result<Self, Error> {
        let lane = |service| Lane {
            upstream: Upstream::new(
                services.addresses(service).clone(),
                services.tls.clone(),
                limits.connections,
                config.streams_per_service,
            ),
            turns: Turns::new(
                config.streams_per_service,
                limits.per_instance,
                config.queue_timeout,
            ),
        };
        key_header(key)?;
        Ok(Self {
            instances: lane(Service::Instances),
            files: lane(Service::Files),
            apps: lane(Service::Apps),
            key: key.clone(),
            door: HeaderValue::from_static(limits.door.as_str()),
            deadline: config.deadline,
        })
    }

    const fn lane(&self, service: Service) -> &Lane {
        match service {
            Service::Instances => &self.instances,
            Service::Files => &self.files,
            Service::Apps => &self.apps,
        }
    }

    /// Sends a call to `service`, for the instance of `place` if there is one.
    ///
    /// # Errors
    /// The status to answer when there is no answer of the service.
    pub(crate) async fn forward(
        &self,
        service: Service,
        host: &Host,
        place: Option<&Place>,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, Status> {
        let allowed = deadline::of(request.headers(), self.deadline).map_err(|error| {
            service_kit::status::invalid_field("grpc-timeout", error.to_string())
        })?;
        let deadline = Instant::now() + allowed;
        let lane = self.lane(service);
        let (mut head, body) = request.into_parts();
        self.rewrite(&mut head.headers, place)
            .map_err(|error| Status::internal(error.to_string()))?;
        head.version = Version::HTTP_2;
        head.extensions.clear();
        head.uri = uri(host, std::mem::take(&mut head.uri))?;

        let turn = timeout_at(
            deadline,
            lane.turns.take(place.map(|place| place.tenant.id.as_str())),
        )
        .await
        .map_err(|_| too_late())??;
        let left = deadline.saturating_duration_since(Instant::now());
        head.headers
            .insert(deadline::TIMEOUT_HEADER, deadline::header(left));

        let ended = body.is_end_stream();
        let opened = lane.upstream.open(Request::from_parts(head, ()), ended);
        let (response, stream) = timeout_at(deadline, opened)
            .await
            .map_err(|_| too_late())?
            .map_err(|error| {
                tracing::warn!(error = %chain(&error), service = service.name(), "a service is out of reach");
                out_of_reach(service.name())
            })?;

        let (over, late) = (CancellationToken::new(), CancellationToken::new());
        let guard = over.clone().drop_guard();
        let signals = Signals {
            over,
            late: late.clone(),
        };
        tokio::spawn(call::carry(body, stream, ended, signals, deadline, turn));
        let response = tokio::select! {
            biased;
            response = response => response,
            () = late.cancelled() => return Err(too_late()),
        };
        let (mut head, stream) = response
            .map_err(|error| {
                if late.is_cancelled() {
                    return too_late();
                }
                tracing::warn!(%error, service = service.name(), "a call broke off before its answer");
                broken_off(service.name(), call::code(&error))
            })?
            .into_parts();
        head.version = Version::HTTP_11;
        let download = Download::new(stream, late, guard, service.name());
        Ok(Response::from_parts(head, Body::Forwarded(download)))
    }

    /// A client can never speak for the gateway: whatever it sent under our names is dropped first.
    fn rewrite(&self, headers: &mut HeaderMap, place: Option<&Place>) -> Result<(), peer::Error> {
        let ours: Vec<HeaderName> = headers
            .keys()
            .filter(|name| name.as_str().starts_with("x-hamlet-"))
            .cloned()
            .collect();
        for name in ours {
            headers.remove(name);
        }
        // `:authority` carries the host from here on.
        headers.remove(HOST);
        headers.insert(KEY_HEADER, key_header(&self.key)?);
        headers.insert(DOOR_HEADER, self.door.clone());
        telemetry::inject(headers);
        if let Some(place) = place {
            headers.insert(TENANT_HEADER, place.header.clone());
        }
        Ok(())
    }
}

fn key_header(key: &Keyring) -> Result<HeaderValue, peer::Error> {
    let mut header = HeaderValue::try_from(key.current().expose()).map_err(|_| peer::Error::Key)?;
    header.set_sensitive(true);
    Ok(header)
}

fn uri(host: &Host, uri: Uri) -> Result<Uri, Status> {
    let mut parts = Parts::default();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = Some(host.authority().clone());
    parts.path_and_query = uri.into_parts().path_and_query;
    Uri::from_parts(parts).map_err(|_| Status::unimplemented("the path is not one of a gRPC call"))
}

fn chain(error: &dyn std::error::Error) -> String {
    error
        .source()
        .map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}

fn too_late() -> Status {
    Failure::new(
        Code::DeadlineExceeded,
        "DEADLINE_EXCEEDED",
        "the call took longer than it may; what it began may still be done",
    )
    .build()
}

fn out_of_reach(service: &str) -> Status {
    Failure::new(
        Code::Unavailable,
        "SERVICE_OUT_OF_REACH",
        format!("the {service} is out of reach; nothing was done, try again in a moment"),
    )
    .build()
}

fn broken_off(service: &str, code: Code) -> Status {
    Failure::new(
        code,
        "CALL_BROKEN_OFF",
        format!("the {service} broke the call off; it may have been carried out"),
    )
    .build()
}
