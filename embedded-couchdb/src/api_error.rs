//! The error of a request: a status with CouchDB's `error` and `reason`.

use std::borrow::Cow;

use http::StatusCode;

use crate::json::{Json, obj};

/// The error response of a request or of one document of a bulk request.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{error}: {reason}")]
pub(crate) struct ApiError {
    pub(crate) status: StatusCode,
    pub(crate) error: Cow<'static, str>,
    pub(crate) reason: Cow<'static, str>,
}

impl ApiError {
    pub(crate) fn new(
        status: StatusCode,
        error: impl Into<Cow<'static, str>>,
        reason: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            status,
            error: error.into(),
            reason: reason.into(),
        }
    }

    pub(crate) fn bad_request(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", reason)
    }

    pub(crate) fn query(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "query_parse_error", reason)
    }

    pub(crate) fn doc_validation(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "doc_validation", reason)
    }

    pub(crate) fn illegal_docid(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "illegal_docid", reason)
    }

    pub(crate) fn bad_json() -> Self {
        Self::bad_request("invalid UTF-8 JSON")
    }

    pub(crate) fn no_database() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "not_found",
            "Database does not exist.",
        )
    }

    pub(crate) fn missing() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", "missing")
    }

    pub(crate) fn deleted() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", "deleted")
    }

    pub(crate) fn conflict() -> Self {
        Self::new(
            StatusCode::CONFLICT,
            "conflict",
            "Document update conflict.",
        )
    }

    pub(crate) fn no_attachment() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "not_found",
            "Document is missing attachment",
        )
    }

    /// A stub names no attachment of the revision before.
    pub(crate) fn missing_stub(id: &str, name: &str) -> Self {
        Self::new(
            StatusCode::PRECONDITION_FAILED,
            "missing_stub",
            format!("Invalid attachment stub in {id} for {name}"),
        )
    }

    pub(crate) fn unauthorized(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", reason)
    }

    pub(crate) fn forbidden(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", reason)
    }

    pub(crate) fn bad_content_type(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "bad_content_type",
            reason,
        )
    }

    pub(crate) fn method_not_allowed(allowed: &str) -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            format!("Only {allowed} allowed"),
        )
    }

    pub(crate) fn not_implemented(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::NOT_IMPLEMENTED, "not_implemented", reason)
    }

    pub(crate) fn internal(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal_server_error",
            reason,
        )
    }

    /// There is no room for what does not make any.
    pub(crate) fn disk_full() -> Self {
        // CouchDB spells it so.
        Self::new(
            StatusCode::INSUFFICIENT_STORAGE,
            "insufficent_storage",
            "the server's disk is full: no space is left on the device that holds the databases",
        )
    }

    /// Whether the store failed, so that the whole request must fail. A function of a design document can fail with 500
    /// for one document.
    pub(crate) fn is_of_store(&self) -> bool {
        self.error == "internal_server_error" || self.status == StatusCode::INSUFFICIENT_STORAGE
    }

    pub(crate) fn body(&self) -> Json {
        obj([
            ("error", self.error.as_ref().into()),
            ("reason", self.reason.as_ref().into()),
        ])
    }
}

impl From<rusqlite::Error> for ApiError {
    fn from(error: rusqlite::Error) -> Self {
        if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull) {
            return Self::disk_full();
        }
        if error.sqlite_error_code() == Some(rusqlite::ErrorCode::ReadOnly) {
            // On a full disk the writer makes its connection one that only reads.
            tracing::debug!(%error, "the store cannot be written");
            return Self::internal("the store cannot be written now");
        }
        tracing::error!(error = %error, "the store failed");
        Self::internal("the store failed; the server's log says why")
    }
}
