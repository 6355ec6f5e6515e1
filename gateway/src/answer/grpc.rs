//! The gateway's own answers to gRPC calls: trailers only, with the details of the error.

use ::http::{HeaderValue, Method, Request, Response, StatusCode, Version, header::CONTENT_TYPE};
pub(crate) use service_kit::grpc::is_grpc;
use service_kit::grpc::is_path_of_service;
use tonic::Status;

use super::{
    Body,
    http::{only, plain},
};
use crate::refusal::Refusal;

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
    (request.method() != Method::POST).then(|| only("POST", "gRPC calls are POST requests"))
}

/// Refuses a request to the path of a gRPC service that is no gRPC call. A page in a browser can send it, and the session
/// that comes with it must count for nothing there.
pub(crate) fn refuse_no_call<B>(request: &Request<B>) -> Option<Response<Body>> {
    let is_one = !is_grpc(request.headers()) && is_path_of_service(request.uri().path());
    is_one.then(|| {
        plain(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "calls of gRPC have the content type application/grpc",
        )
    })
}
