//! Answers to gRPC calls: trailers-only, with the particulars of the error.

use ::http::{HeaderMap, HeaderValue, Response, header::CONTENT_TYPE};
use service_kit::status::Failure;
use tonic::{Code, Status};

use super::Body;
use crate::{
    directory::{Place, State},
    host::Host,
};

/// Whether a request is a gRPC call. `application/grpc-web` is another protocol.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("application/grpc"))
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(['+', ';']))
}

/// The status in the one HEADERS frame of a trailers-only answer.
pub(crate) fn answer(status: &Status) -> Response<Body> {
    let mut response = Response::new(Body::Empty);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    if status.add_header(headers).is_err() {
        headers.insert(Status::GRPC_STATUS, HeaderValue::from(status.code() as i32));
    }
    response
}

pub(crate) fn unknown(host: &Host) -> Status {
    Failure::new(
        Code::NotFound,
        "INSTANCE_NOT_FOUND",
        format!("there is no instance {}", host.name()),
    )
    .with("host", host.name())
    .build()
}

pub(crate) fn moved(host: &Host, to: &str) -> Status {
    Failure::new(
        Code::NotFound,
        "INSTANCE_MOVED",
        format!("the instance of {} is now at {to}", host.name()),
    )
    .with("host", host.name())
    .with("domain", to)
    .build()
}

pub(crate) fn out_of_reach() -> Status {
    Failure::new(
        Code::Unavailable,
        "DIRECTORY_OUT_OF_REACH",
        "whose host this is cannot be found out now; try again in a moment",
    )
    .build()
}

/// Refuses strangers what must not be used.
pub(crate) fn refuse(place: &Place) -> Option<Status> {
    let failure = match &place.state {
        State::Active => return None,
        State::Blocked { reason } => Failure::new(
            Code::FailedPrecondition,
            "INSTANCE_BLOCKED",
            format!("the instance {} is blocked", place.tenant.domain),
        )
        .with("reason", if reason.is_empty() { "UNKNOWN" } else { reason }),
        State::Deleting => Failure::new(
            Code::NotFound,
            "INSTANCE_DELETING",
            format!("the instance {} is being destroyed", place.tenant.domain),
        ),
    };
    Some(failure.with("domain", &place.tenant.domain).build())
}

pub(crate) fn no_such_service(path: &str) -> Status {
    Failure::new(
        Code::Unimplemented,
        "NO_SUCH_SERVICE",
        format!("{path} cannot be called through this door"),
    )
    .build()
}
