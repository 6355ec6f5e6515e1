//! The gateway's own answers to gRPC calls: trailers only, with the details of the error.

use ::http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version, header::CONTENT_TYPE,
};
use tonic::Status;

use super::{Body, http::plain};
use crate::refusal::Refusal;

/// Whether a request is a gRPC call. `application/grpc-web` is another protocol.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("application/grpc"))
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(['+', ';']))
}

/// A trailers-only answer: the status of the refusal in its one HEADERS frame.
pub(crate) fn refuse(refusal: &Refusal) -> Response<Body> {
    let status = Status::from(refusal);
    let mut response = Response::new(Body::Empty);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    if status.add_header(headers).is_err() {
        headers.insert(Status::GRPC_STATUS, HeaderValue::from(status.code() as i32));
    }
    response
}

/// Refuses a request with a gRPC content type that is not a gRPC call: gRPC is POST over HTTP/2.
pub(crate) fn refuse_malformed<B>(request: &Request<B>) -> Option<Response<Body>> {
    if request.version() != Version::HTTP_2 {
        return Some(plain(
            StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            "gRPC needs HTTP/2",
        ));
    }
    (request.method() != Method::POST).then(|| {
        plain(
            StatusCode::METHOD_NOT_ALLOWED,
            "gRPC calls are POST requests",
        )
    })
}
