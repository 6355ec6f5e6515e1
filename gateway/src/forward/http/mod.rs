//! Forwarding HTTP requests that are no gRPC: bodies stream in both directions, and connections may be upgraded.
//!
//! Requests leave as HTTP/1.1, whatever they came as: it can be upgraded, and every server speaks it. Each has a connection
//! for itself while it is at work. What is hop-by-hop (RFC 9110, section 7.6.1) ends here; all else passes.

mod download;
mod hops;
mod pool;
mod upgrade;
mod upload;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version,
    header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HOST, TE, UPGRADE},
};
use http_body::Body as _;
use hyper::body::Incoming;
use tokio::{sync::oneshot, time::Instant};

pub(crate) use self::download::HttpDownload;
use self::{
    hops::remove_hop_by_hop,
    pool::Lease,
    upgrade::{Held, Upgrade, tunnel},
    upload::Gate,
};
pub(super) use self::{
    pool::{HttpUpstream, SendError},
    upload::Upload,
};
use super::{
    Forwarder, Whose,
    active::{Active, Stream},
    backend::Backend,
    headers::{remove_ours, rewrite_for_others},
    lane::Lane,
    turns::{Turn, Turns},
};
use crate::{
    accept::Connection, directory::BackendRoute, refusal::Refusal, route::Service, seldom::Seldom,
};

/// What counts as for ever: an event stream has no deadline.
const FOR_EVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// Where a request goes.
#[derive(Clone, Copy)]
pub(crate) enum Target<'a> {
    /// To a service of Hamlet's.
    Service(Service),
    /// To the server that serves the instance in Hamlet's stead.
    Backend(&'a Arc<BackendRoute>),
}

/// The way to a target.
enum Way<'a> {
    Service(&'a Lane),
    Backend(Arc<Backend>),
}

impl Forwarder {
    fn way(&self, target: Target<'_>) -> Way<'_> {
        match target {
            Target::Service(service) => Way::Service(self.lane(service)),
            Target::Backend(route) => Way::Backend(self.backends.of(route)),
        }
    }

    /// Forwards a request that is no gRPC. Fails when the target gives no response.
    pub(crate) async fn forward_http(
        &self,
        target: Target<'_>,
        whose: Whose<'_>,
        connection: &Arc<Connection>,
        request: Request<Incoming>,
    ) -> Result<Response<HttpDownload>, Refusal> {
        let way = self.way(target);
        let (turns, active) = (way.turns(), way.active());
        turns.count(whose.wants())?;
        let turn = match turns.try_take(whose.wants()) {
            Some(turn) => turn,
            None => {
                let turn = turns.wait(whose.wants(), active).await?;
                self.require_open(whose).await?;
                turn
            }
        };
        let running = active.begin(Instant::now() + FOR_EVER, whose.holder(), turn);
        let exchange = Arc::clone(running.exchange());
        let (mut head, body) = request.into_parts();
        let upgrade = Upgrade::asked(&mut head);
        let trailers = head.headers.get(TE).is_some_and(|te| te == "trailers");
        remove_hop_by_hop(&mut head.headers);
        match way {
            Way::Service(_) => self.rewrite(&mut head.headers, whose)?,
            Way::Backend(_) => rewrite_for_others(&mut head.headers, whose),
        }
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
        // Most clients write it as it is kept.
        if head.headers.get(HOST).is_none_or(|host| host != authority) {
            head.headers.insert(
                HOST,
                HeaderValue::from_str(authority).map_err(|_| Refusal::Path)?,
            );
        }
        head.version = Version::HTTP_11;
        let path = head.uri.path_and_query().cloned();
        head.uri = path.map_or_else(|| Uri::from_static("/"), Uri::from);
        let (open, gate) = head
            .headers
            .contains_key(EXPECT)
            .then(oneshot::channel)
            .unzip();
        let mut request = Request::from_parts(
            head,
            Upload {
                body,
                gate: gate.map(Gate::new),
                exchange: Arc::clone(&exchange),
            },
        );
        if let Some(open) = open {
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
            sent = way.send(request) => sent,
            () = exchange.silence(self.deadline) => return Err(Refusal::DeadlineExceeded),
            () = exchange.over() => {
                let why = exchange.end_reason();
                return Err(why.map_or(Refusal::DeadlineExceeded, Refusal::from));
            }
        };
        let service = way.name();
        let (mut response, lease) = sent.map_err(|error| {
            if let Some(unseen) = way.out_of_reach().now() {
                tracing::warn!(%error, service, unseen, "a request got no response");
            }
            match error {
                SendError::Connect(_) => Refusal::ServiceUnreachable { service },
                SendError::Broken(_) => Refusal::BrokenOff {
                    service,
                    code: tonic::Code::Unavailable,
                },
                SendError::Busy => Refusal::TooManyCalls,
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
            let counted = (connection.becomes_tunnel(), lease.becomes_tunnel());
            let connection = Arc::clone(connection);
            // The turn is given back: a tunnel may last for days, and is bounded as a connection.
            drop(exchange.take_turn());
            let lasting = way.lasting(whose)?;
            let held = Held {
                running,
                lasting,
                counted,
            };
            tokio::spawn(tunnel(upgrade.ours, theirs, connection, held));
            return Ok(Response::from_parts(head, HttpDownload::none()));
        }
        let mut lasting = None;
        if is_event_stream(&head.headers) {
            // It may be quiet for hours. It is bounded as a stream of its connection.
            drop(exchange.take_turn());
            lasting = way.lasting(whose)?;
        }
        exchange.receive(Stream::Http(body));
        let download = HttpDownload {
            running: Some(running),
            lease: Some(lease),
            lasting,
        };
        Ok(Response::from_parts(head, download))
    }
}

impl Way<'_> {
    /// The name of the target in messages.
    const fn name(&self) -> &'static str {
        match self {
            Self::Service(lane) => lane.service.name(),
            Self::Backend(_) => "server of this instance",
        }
    }

    fn turns(&self) -> &Turns {
        match self {
            Self::Service(lane) => &lane.turns,
            Self::Backend(backend) => &backend.turns,
        }
    }

    fn active(&self) -> &Arc<Active> {
        match self {
            Self::Service(lane) => &lane.active,
            Self::Backend(backend) => &backend.active,
        }
    }

    fn out_of_reach(&self) -> &Seldom {
        match self {
            Self::Service(lane) => &lane.out_of_reach,
            Self::Backend(backend) => &backend.out_of_reach,
        }
    }

    async fn send(
        &self,
        request: Request<Upload>,
    ) -> Result<(Response<Incoming>, Lease), SendError> {
        match self {
            Self::Service(lane) => {
                let (response, lease) = lane.http.send(request).await?;
                Ok((response, Lease::Service(lease)))
            }
            Self::Backend(backend) => {
                let (response, lease) = backend.send(request).await?;
                Ok((response, Lease::Backend(lease)))
            }
        }
    }

    /// The turn of something that lasts, where these are counted.
    fn lasting(&self, whose: Whose<'_>) -> Result<Option<Turn>, Refusal> {
        match self {
            Self::Service(_) => Ok(None),
            Self::Backend(backend) => {
                let turn = backend.lasting.try_take(whose.wants());
                turn.map(Some).ok_or(Refusal::TooManyCalls)
            }
        }
    }
}

fn is_event_stream(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    kind.is_some_and(|kind| kind.starts_with(b"text/event-stream"))
}

/// Whether a request of this method without a body says so by its length (RFC 9110, section 8.6).
fn is_with_body(method: &Method) -> bool {
    [Method::POST, Method::PUT, Method::PATCH].contains(method)
}
