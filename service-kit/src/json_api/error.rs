//! Refusals as JSON:API error objects.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::{
    HeaderValue, StatusCode,
    header::{CONTENT_TYPE as CONTENT_TYPE_HEADER, RETRY_AFTER},
};
use serde::Serialize;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::CONTENT_TYPE;
use crate::status::{ServiceError, reason, to_status};

/// A refusal: a status, and an error object for each thing that is wrong.
#[derive(Debug)]
pub struct Error {
    status: StatusCode,
    objects: Vec<ErrorObject>,
    retry_after: Option<Duration>,
}

/// The document of a refusal.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct ErrorDocument {
    /// What is wrong: one object for each thing.
    pub errors: Vec<ErrorObject>,
}

/// One thing that is wrong.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct ErrorObject {
    /// The status of the response, as text.
    pub status: String,
    /// The kind of error, for people.
    pub title: String,
    /// The reason, for programs.
    pub code: String,
    /// What is wrong, and what to do.
    pub detail: String,
    /// What in the request is wrong; empty if no part of it is to blame.
    pub source: ErrorSource,
}

/// What in a request is wrong.
#[derive(Clone, Debug, Default, Serialize, utoipa::ToSchema)]
pub struct ErrorSource {
    /// The parameter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameter: Option<String>,
}

impl Error {
    /// A refusal. `code` is the reason, for programs; `detail` says what is wrong and what to do.
    pub fn new(status: StatusCode, code: &str, detail: impl Into<String>) -> Self {
        let object = ErrorObject {
            status: status.as_str().to_owned(),
            title: title(status).to_owned(),
            code: code.to_owned(),
            detail: detail.into(),
            source: ErrorSource::default(),
        };
        Self {
            status,
            objects: vec![object],
            retry_after: None,
        }
    }

    /// A parameter that cannot be used.
    pub fn parameter(name: &str, wrong: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "INVALID_FIELD", wrong).because_of(name)
    }

    /// What this version does not do. `detail` says what to do instead.
    pub fn not_built(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_IMPLEMENTED, "NOT_BUILT_YET", detail)
    }

    /// Names the parameter that is to blame.
    #[must_use]
    pub fn because_of(mut self, parameter: &str) -> Self {
        for object in &mut self.objects {
            object.source.parameter = Some(parameter.to_owned());
        }
        self
    }

    /// The same with the names of parameters of this route, where it says which field of the contract is wrong.
    #[must_use]
    pub fn with_parameters(mut self, name_of: impl Fn(&str) -> String) -> Self {
        for object in &mut self.objects {
            if let Some(field) = &mut object.source.parameter {
                *field = name_of(field);
            }
        }
        self
    }

    /// The same refusal with another status.
    #[must_use]
    pub fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status;
        for object in &mut self.objects {
            object.status = status.as_str().to_owned();
            object.title = title(status).to_owned();
        }
        self
    }

    /// The parameters that are to blame.
    pub fn parameters(&self) -> impl Iterator<Item = &str> {
        let objects = self.objects.iter();
        objects.filter_map(|object| object.source.parameter.as_deref())
    }

    /// The status.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    /// The reason, for programs.
    #[must_use]
    pub fn code(&self) -> &str {
        self.objects.first().map_or("", |first| &first.code)
    }

    /// The refusal of a service's own error.
    pub fn of<E: ServiceError + 'static>(error: &E) -> Self {
        to_status(error).into()
    }
}

impl From<Status> for Error {
    fn from(refused: Status) -> Self {
        let code = reason(&refused).unwrap_or_default();
        let mut error = Self::new(status_of(refused.code()), &code, refused.message());
        error.retry_after = refused
            .get_details_retry_info()
            .and_then(|info| info.retry_delay);
        let violations = refused
            .get_details_bad_request()
            .map_or_else(Vec::new, |wrong| wrong.field_violations);
        if let Some(whole) = error.objects.first()
            && !violations.is_empty()
        {
            let objects = violations.into_iter().map(|wrong| ErrorObject {
                detail: wrong.description,
                source: ErrorSource {
                    parameter: Some(wrong.field),
                },
                ..whole.clone()
            });
            error.objects = objects.collect();
        }
        error
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let status = self.status;
        let retry_after = match status {
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
                let seconds = self.retry_after.map_or(1, |time| time.as_secs().max(1));
                Some(HeaderValue::from(seconds))
            }
            _ => None,
        };
        let document = ErrorDocument {
            errors: self.objects,
        };
        let body = serde_json::to_vec(&document).unwrap_or_default();
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE_HEADER, HeaderValue::from_static(CONTENT_TYPE));
        if let Some(seconds) = retry_after {
            headers.insert(RETRY_AFTER, seconds);
        }
        response
    }
}

/// The status of HTTP that says what a code of gRPC says.
const fn status_of(code: Code) -> StatusCode {
    match code {
        Code::Ok => StatusCode::OK,
        Code::InvalidArgument | Code::OutOfRange => StatusCode::UNPROCESSABLE_ENTITY,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted | Code::FailedPrecondition => StatusCode::CONFLICT,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable | Code::Cancelled => StatusCode::SERVICE_UNAVAILABLE,
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::Unknown | Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// The title that compatible clients know for a status.
fn title(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNPROCESSABLE_ENTITY => "Invalid Parameter",
        _ => status.canonical_reason().unwrap_or("Error"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use axum::response::IntoResponse as _;
    use http::StatusCode;
    use serde_json::{Value, json};
    use tonic::Code;

    use super::Error;
    use crate::status::StatusBuilder;

    fn objects(error: &Error) -> Value {
        serde_json::to_value(&error.objects).unwrap()
    }

    #[test]
    fn each_wrong_field_is_an_object() {
        let wrong = [
            ("instance.domain", "is empty"),
            ("locale", "is no language"),
        ];
        let refused = StatusBuilder::invalid_fields(wrong.into_iter()).build();
        let error = Error::from(refused)
            .with_parameters(|field| field.strip_prefix("instance.").unwrap_or(field).to_owned());
        assert_eq!(error.status(), StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(
            objects(&error),
            json!([
                {"status": "422", "title": "Invalid Parameter", "code": "INVALID_FIELD",
                 "detail": "is empty", "source": {"parameter": "domain"}},
                {"status": "422", "title": "Invalid Parameter", "code": "INVALID_FIELD",
                 "detail": "is no language", "source": {"parameter": "locale"}},
            ])
        );
    }

    #[test]
    fn a_refusal_without_a_parameter_has_an_empty_source() {
        let refused = StatusBuilder::new(Code::NotFound, "INSTANCE_NOT_FOUND", "there is none");
        let error = Error::from(refused.build());
        assert_eq!(
            objects(&error),
            json!([{"status": "404", "title": "Not Found", "code": "INSTANCE_NOT_FOUND",
                    "detail": "there is none", "source": {}}])
        );
        let busy = Error::from(
            StatusBuilder::new(Code::ResourceExhausted, "HASHING_BUSY", "later")
                .retry_after(std::time::Duration::from_secs(7))
                .build(),
        );
        let response = busy.into_response();
        assert_eq!(response.headers().get("retry-after").unwrap(), "7");
    }
}
