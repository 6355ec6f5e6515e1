//! What becomes of a request at each door.

mod admin;
mod public;

use http::{Method, Request, Response, StatusCode, Version};

pub(crate) use self::{admin::AdminDoor, public::PublicDoor};
use crate::answer::{Body, http::plain};

/// Refuses what calls itself gRPC and is not: it is a protocol over POST and HTTP/2.
fn refuse_odd_grpc<B>(request: &Request<B>) -> Option<Response<Body>> {
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
