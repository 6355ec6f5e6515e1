//! Responses with the headers that CouchDB sends.

use http::{HeaderName, HeaderValue, Response, StatusCode, header};

use super::{body::Body, request::ApiRequest};
use crate::{api_error::ApiError, json::Json};

/// The value of the `Server` header. Clients read the version of CouchDB's API from it.
const SERVER: &str = "CouchDB/3.4.3 (embedded-couchdb)";

/// A response, without the headers that all responses have.
pub(crate) struct ApiResponse {
    pub(crate) status: StatusCode,
    pub(crate) headers: Vec<(HeaderName, String)>,
    pub(crate) body: Body,
}

impl ApiResponse {
    pub(crate) fn text(status: StatusCode, body: String) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Body::full(body),
        }
    }

    pub(crate) fn json(status: StatusCode, body: &Json) -> Self {
        let mut text = body.to_string();
        text.push('\n');
        Self::text(status, text)
    }

    pub(crate) fn ok(body: &Json) -> Self {
        Self::json(StatusCode::OK, body)
    }

    /// The client has what `etag` (in quotes) stands for.
    pub(crate) fn not_modified(etag: String) -> Self {
        Self::text(StatusCode::NOT_MODIFIED, String::new()).with(header::ETAG, etag)
    }

    pub(crate) fn with(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(crate) fn from_error(failure: &ApiError) -> Self {
        let response = Self::json(failure.status, &failure.body());
        match failure.status {
            StatusCode::METHOD_NOT_ALLOWED => {
                let allowed = failure.reason.strip_prefix("Only ");
                match allowed.and_then(|rest| rest.strip_suffix(" allowed")) {
                    Some(allowed) => response.with(header::ALLOW, allowed),
                    None => response,
                }
            }
            _ => response,
        }
    }

    /// Adds the headers that all responses have.
    pub(crate) fn finish(self, request: Option<&ApiRequest>) -> Response<Body> {
        let mut response = Response::new(self.body);
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::SERVER, HeaderValue::from_static(SERVER));
        let is_bare = matches!(
            self.status,
            StatusCode::NOT_MODIFIED | StatusCode::MOVED_PERMANENTLY
        );
        let is_multipart = self
            .headers
            .iter()
            .any(|(name, value)| name == header::CONTENT_TYPE && value.starts_with("multipart/"));
        if !is_bare && !is_multipart {
            headers.insert(
                header::CACHE_CONTROL,
                HeaderValue::from_static("must-revalidate"),
            );
            headers.insert(
                header::CONTENT_TYPE,
                HeaderValue::from_static("application/json"),
            );
        }
        let mut id = [0_u8; 5];
        // If the system has no random bytes, request ids repeat, which is harmless.
        let _ = getrandom::fill(&mut id);
        if let Ok(id) = HeaderValue::from_str(&hex::encode(id)) {
            headers.insert("x-couch-request-id", id);
        }
        headers.insert("x-couchdb-body-time", HeaderValue::from_static("0"));
        for (name, value) in self.headers {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(name, value);
            }
        }
        // CouchDB closes the connection if it refuses a request without reading its body.
        if self.status == StatusCode::UNSUPPORTED_MEDIA_TYPE
            && request.is_some_and(|request| !request.sent_body.is_empty())
        {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}
