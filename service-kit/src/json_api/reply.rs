//! Responses in JSON.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use tonic::Status;

use super::{CONTENT_TYPE, Error};

/// A document of JSON:API.
#[derive(Clone, Debug)]
pub struct JsonApi<T>(pub StatusCode, pub T);

/// Plain JSON, with status 200.
#[derive(Clone, Debug)]
pub struct Json<T>(pub T);

impl<T: Serialize> IntoResponse for JsonApi<T> {
    fn into_response(self) -> Response {
        written(self.0, CONTENT_TYPE, &self.1)
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        written(StatusCode::OK, "application/json", &self.0)
    }
}

fn written(status: StatusCode, kind: &'static str, body: &impl Serialize) -> Response {
    let body = match serde_json::to_vec(body) {
        Ok(body) => body,
        Err(error) => {
            tracing::error!(%error, "a response cannot be written as JSON");
            return Error::from(Status::internal("the response cannot be written")).into_response();
        }
    };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        // What is told of an instance may change at any moment, and is for an administrator only.
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (status, headers, body).into_response()
}
