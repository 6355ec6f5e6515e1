//! Forwarding gRPC calls to a service: bodies, trailers, flow control and cancellation pass unchanged.

mod call;
mod deadline;
mod turns;
mod upstream;

use http::{
    HeaderMap, HeaderName, HeaderValue, Request, Response, Uri, Version,
    header::HOST,
    uri::{Parts, Scheme},
};
use hyper::body::Incoming;
use service_kit::{
    caller::{DOOR_HEADER, Door, KEY_HEADER, TENANT_HEADER},
    peer,
    secret::Keyring,
    telemetry,
};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

pub(crate) use self::call::Download;
use self::{
    call::{Signals, Upload},
    turns::{Turn, Turns},
    upstream::Upstream,
};
use crate::{
    Config, Error, directory::HostEntry, host::Host, refusal::Refusal, route::Service,
    services::Services,
};

/// The limits of one door.
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

/// Forwards the calls of one door to the services.
pub(crate) struct Forwarder {
    instances: Lane,
    files: Lane,
    apps: Lane,
    key: Keyring,
    door: HeaderValue,
    deadline: std::time::Duration,
}

/// How often a call is sent at most, each time because a service that shuts down did not process it.
const ATTEMPTS: usize = 3;

struct Lane {
    upstream: Upstream,
    turns: Turns,
}

/// A call's body, and its turn at the service.
struct Sending {
    upload: Upload,
    turn: Turn,
}

/// What came of sending a call.
enum Sent {
    Answered(Response<Download>),
    /// The service shuts down and has not processed the call: it may be sent again.
    NotProcessed(Sending),
}

impl Lane {
    /// Sends a call to one replica. Fails when the service gives no response.
    async fn send(
        &self,
        service: Service,
        request: &Request<()>,
        Sending { upload, turn }: Sending,
        deadline: Instant,
    ) -> Result<Sent, Refusal> {
        let service = service.name();
        let opened = self.upstream.open(request, upload.is_empty());
        let (response, stream) = timeout_at(deadline, opened)
            .await
            .map_err(|_| Refusal::DeadlineExceeded)?
            .map_err(|error| {
                tracing::warn!(error = %chain(&error), service, "a service is out of reach");
                Refusal::ServiceUnreachable { service }
            })?;

        let (over, late) = (CancellationToken::new(), CancellationToken::new());
        let guard = over.clone().drop_guard();
        let signals = Signals {
            over,
            late: late.clone(),
        };
        let carrying = tokio::spawn(call::carry(upload, stream, signals, deadline, turn));
        let response = tokio::select! {
            biased;
            response = response => response,
            () = late.cancelled() => return Err(Refusal::DeadlineExceeded),
        };
        let error = match response {
            Ok(response) => {
                let (mut head, stream) = response.into_parts();
                head.version = Version::HTTP_11;
                let download = Download::new(stream, late, guard, service);
                return Ok(Sent::Answered(Response::from_parts(head, download)));
            }
            Err(_) if late.is_cancelled() => return Err(Refusal::DeadlineExceeded),
            Err(error) => error,
        };
        // This ends the upload.
        drop(guard);
        if call::was_not_processed(&error)
            && let Ok((upload, turn)) = carrying.await
            && upload.can_be_repeated()
        {
            return Ok(Sent::NotProcessed(Sending { upload, turn }));
        }
        tracing::warn!(%error, service, "a call broke off before its answer");
        Err(Refusal::BrokenOff {
            service,
            code: call::code(&error),
        })
    }
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

    /// Forwards a call to `service`, for the instance of `entry` if there is one. Fails when the service gives
    /// no response.
    pub(crate) async fn forward(
        &self,
        service: Service,
        host: &Host,
        entry: Option<&HostEntry>,
        request: Request<Incoming>,
    ) -> Result<Response<Download>, Refusal> {
        let allowed = deadline::of(request.headers(), self.deadline)?;
        let deadline = Instant::now() + allowed;
        let lane = self.lane(service);
        let (mut head, body) = request.into_parts();
        self.rewrite(&mut head.headers, entry)?;
        head.version = Version::HTTP_2;
        head.extensions.clear();
        head.uri = uri(host, std::mem::take(&mut head.uri))?;

        let turn = timeout_at(
            deadline,
            lane.turns.take(entry.map(|entry| entry.tenant.id.as_str())),
        )
        .await
        .map_err(|_| Refusal::DeadlineExceeded)??;
        let mut request = Request::from_parts(head, ());
        let mut sending = Sending {
            upload: Upload::new(body),
            turn,
        };
        for _ in 0..ATTEMPTS {
            let left = deadline.saturating_duration_since(Instant::now());
            request
                .headers_mut()
                .insert(deadline::TIMEOUT_HEADER, deadline::header(left));
            match lane.send(service, &request, sending, deadline).await? {
                Sent::Answered(response) => return Ok(response),
                Sent::NotProcessed(again) => sending = again,
            }
        }
        Err(Refusal::ServiceUnreachable {
            service: service.name(),
        })
    }

    /// Replaces the headers that services trust: those that the client sent are removed first.
    fn rewrite(
        &self,
        headers: &mut HeaderMap,
        entry: Option<&HostEntry>,
    ) -> Result<(), peer::Error> {
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
        headers.insert(KEY_HEADER, key_header(&self.key)?);
        headers.insert(DOOR_HEADER, self.door.clone());
        telemetry::inject(headers);
        if let Some(entry) = entry {
            headers.insert(TENANT_HEADER, entry.header.clone());
        }
        Ok(())
    }
}

fn key_header(key: &Keyring) -> Result<HeaderValue, peer::Error> {
    let mut header = HeaderValue::try_from(key.current().expose()).map_err(|_| peer::Error::Key)?;
    header.set_sensitive(true);
    Ok(header)
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
