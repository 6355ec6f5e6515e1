//! The calls to one service: they wait for their turns, are sent, and get their responses.

use std::{pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::future::poll_immediate;
use http::{HeaderMap, Request, Response, Version};
use hyper::body::Incoming;
use tokio::time::{Sleep, timeout};
use tonic::Status;

use super::{
    Whose,
    active::{Active, Stream},
    arrival::{Arrival, Gone, Progress, Room},
    call::{self, Download},
    http::HttpUpstream,
    limits,
    turns::{Turn, Turns},
    upstream::Upstream,
};
use crate::{refusal::Refusal, route::Service, seldom::Seldom};

/// How long the first message may take before the call tries to go on without it, now and then: a service may speak
/// first.
const FIRST_MESSAGE_WITHIN: Duration = Duration::from_secs(1);

/// The way to one service, for one thread of a door.
pub(super) struct Lane {
    pub(super) service: Service,
    pub(super) upstream: Upstream,
    pub(super) http: HttpUpstream,
    pub(super) turns: Arc<Turns>,
    pub(super) active: Arc<Active>,
    pub(super) out_of_reach: Seldom,
}

/// A call that has its turn.
pub(super) struct Outgoing {
    pub(super) turn: Turn,
    pub(super) pieces: Vec<Bytes>,
    pub(super) trailers: Option<HeaderMap>,
    /// What the caller has yet to send.
    pub(super) rest: Option<Incoming>,
    pub(super) late: Pin<Box<Sleep>>,
}

/// What came of sending a call.
pub(super) enum Sent {
    Answered(Response<Download>),
    /// The service shuts down and has not processed the call: it may be sent again.
    NotProcessed(Turn, Pin<Box<Sleep>>),
}

impl Lane {
    /// Waits for the call's first message, then for its turn.
    pub(super) async fn turn(
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
                    if let Some(turn) = self.turns.try_take(whose.wants()) {
                        return Ok(turn);
                    }
                    if !arrival.may_wait(room, key) {
                        return Err(Refusal::TooManyCalls);
                    }
                    return self.turns.wait(whose.wants(), &self.active).await;
                }
                // What has come waits at the service then, bounded by turns; a caller that stalls it loses its turn.
                Some(Ok(Progress::NoRoom)) => {
                    return self
                        .turns
                        .try_take(whose.wants())
                        .ok_or(Refusal::TooManyCalls);
                }
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
    pub(super) async fn send(
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

        let running = self.active.begin(late.deadline(), whose.holder(), turn);
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
            () = exchange.over() => {
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
                if !limits::shorten(&mut head.headers) {
                    return Err(Refusal::BrokenOff {
                        service,
                        code: tonic::Code::Internal,
                    });
                }
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

fn chain(error: &dyn std::error::Error) -> String {
    error
        .source()
        .map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}
