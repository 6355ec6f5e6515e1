//! Who calls, and what is left to gRPC.

use axum::{
    Router,
    extract::{FromRequestParts, Request, State},
    middleware::{Next, from_fn, from_fn_with_state},
    response::{IntoResponse as _, Response},
};
use http::{Method, StatusCode, header::CONTENT_TYPE, request::Parts};
use tonic::{Extensions, Status, metadata::MetadataMap, service::Interceptor as _};

use super::{Error, request_id};
use crate::caller::{Authenticate, Caller};

/// The routes for callers that `door` knows. Paths without a route are answered with an error object, and calls of
/// gRPC as a gRPC server without the service answers them.
pub fn behind(door: Authenticate, routes: Router) -> Router {
    routes
        .fallback(nothing_here)
        .method_not_allowed_fallback(not_so)
        .layer(from_fn_with_state(door, authenticate))
        .layer(from_fn(request_id::carry))
        .layer(from_fn(leave_grpc))
}

async fn nothing_here() -> Error {
    Error::new(
        StatusCode::NOT_FOUND,
        "NO_SUCH_PATH",
        "there is nothing at this path; the admin door lists the paths of the JSON API at GET /openapi.json",
    )
}

async fn not_so() -> Error {
    Error::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "METHOD_NOT_ALLOWED",
        "the path has no such method; Allow lists those that it has",
    )
}

/// The answer of a route of the public door that has no such method; the router adds those that it has, as `Allow`. It belongs
/// outside of what refuses strangers: what a path has is no secret, and a wrong method is wrong whoever sends it.
pub async fn no_such_method(method: Method) -> Response {
    if method == Method::OPTIONS {
        return StatusCode::NO_CONTENT.into_response();
    }
    let told = "the path has no such method; Allow lists those that it has";
    Error::new(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", told).into_response()
}

async fn leave_grpc(request: Request, next: Next) -> Response {
    let kind = request.headers().get(CONTENT_TYPE);
    if kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc")) {
        return Status::unimplemented("").into_http();
    }
    next.run(request).await
}

async fn authenticate(
    State(mut door): State<Authenticate>,
    mut request: Request,
    next: Next,
) -> Response {
    let metadata = MetadataMap::from_headers(request.headers().clone());
    let call = tonic::Request::from_parts(metadata, Extensions::default(), ());
    let caller = door
        .call(call)
        .and_then(|checked| Caller::of(&checked).cloned());
    match caller {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(refused) => Error::from(refused).into_response(),
    }
}

/// The caller of a request that came through the admin door, or of another service's.
#[derive(Clone, Debug)]
pub struct Administrator(pub Caller);

impl<S: Sync> FromRequestParts<S> for Administrator {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        let caller = parts
            .extensions
            .get::<Caller>()
            .ok_or_else(|| Status::internal("the routes were served without authentication"))?;
        caller.require_admin()?;
        Ok(Self(caller.clone()))
    }
}
