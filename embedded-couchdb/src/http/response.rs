//! Answers, with the headers that CouchDB sends.

use http::{HeaderName, HeaderValue, Response, StatusCode, header};

use super::{body::Body, call::Call};
use crate::{failure::Failure, json::Json};

/// An answer, before the headers that all answers share.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: Vec<(HeaderName, String)>,
    pub(crate) body: Body,
}

impl Answer {
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

    pub(crate) fn with(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(crate) fn failure(failure: &Failure) -> Self {
        let answer = Self::json(failure.status, &failure.body());
        match failure.status {
            StatusCode::METHOD_NOT_ALLOWED => {
                let allowed = failure
                    .reason
                    .trim_start_matches("Only ")
                    .trim_end_matches(" allowed");
                answer.with(header::ALLOW, allowed)
            }
            _ => answer,
        }
    }

    /// Adds what every answer carries.
    pub(crate) fn finish(self, call: Option<&Call>) -> Response<Body> {
        let mut response = Response::new(self.body);
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::SERVER, HeaderValue::from_static(super::SERVER));
        headers.insert(
            header::CACHE_CONTROL,
            HeaderValue::from_static("must-revalidate"),
        );
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        let mut id = [0_u8; 5];
        // Without randomness the ids of requests repeat, which hurts nobody.
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
        // CouchDB closes after refusing a request whose body it has not read.
        if self.status == StatusCode::UNSUPPORTED_MEDIA_TYPE
            && call.is_some_and(|call| !call.body.is_empty())
        {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}
