//! The answers to requests for pages.

use axum::{
    body::Body,
    response::{IntoResponse as _, Response},
};
use hamlet_pages::accept::MediaType;
use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{
        CACHE_CONTROL, CONTENT_TYPE, LOCATION, REFERRER_POLICY, SET_COOKIE, X_CONTENT_TYPE_OPTIONS,
    },
};
use serde_json::{Value, json};

/// A page to show.
pub(in crate::api) struct Shown<'a> {
    /// The key of its texts.
    pub(in crate::api) key: &'a str,
    pub(in crate::api) status: StatusCode,
    /// The reason, for programs; empty for a page that is no error.
    pub(in crate::api) code: &'a str,
    /// HTML after the texts.
    pub(in crate::api) more: String,
    /// The document for programs; errors have one of their own.
    pub(in crate::api) document: Option<Value>,
    /// What stands in the texts for names in braces, besides the name of the instance.
    pub(in crate::api) slots: Vec<(&'static str, String)>,
    /// Where the answer to the form may lead, besides the apps of the instance: a source of a policy.
    pub(in crate::api) leads_to: Option<String>,
}

impl<'a> Shown<'a> {
    /// A page that says what is wrong.
    pub(in crate::api) const fn error(key: &'a str, status: StatusCode, code: &'a str) -> Self {
        Self {
            key,
            status,
            code,
            more: String::new(),
            document: None,
            slots: Vec::new(),
            leads_to: None,
        }
    }

    /// A page with a form.
    pub(in crate::api) const fn form(key: &'a str, status: StatusCode, more: String) -> Self {
        Self {
            key,
            status,
            code: "",
            more,
            document: None,
            slots: Vec::new(),
            leads_to: None,
        }
    }
}

pub(super) fn set(headers: &mut HeaderMap, name: HeaderName, value: &'static str) {
    headers.insert(name, HeaderValue::from_static(value));
}

pub(super) fn common(headers: &mut HeaderMap) {
    set(headers, X_CONTENT_TYPE_OPTIONS, "nosniff");
    // The state of an instance may change at any moment, and what is told is for one reader.
    set(headers, CACHE_CONTROL, "no-store");
    // The address may hold a register token.
    set(headers, REFERRER_POLICY, "no-referrer");
}

pub(super) fn error_document(shown: &Shown<'_>, detail: &str) -> Value {
    json!({"errors": [{
        "status": shown.status.as_str(),
        "code": shown.code,
        "title": shown.status.canonical_reason().unwrap_or_default(),
        "detail": detail,
        "source": {},
    }]})
}

/// Sends a browser elsewhere, with GET.
pub(in crate::api) fn see_other(location: &str) -> Response {
    let mut response = StatusCode::SEE_OTHER.into_response();
    let headers = response.headers_mut();
    common(headers);
    match HeaderValue::try_from(location) {
        Ok(location) => {
            headers.insert(LOCATION, location);
            response
        }
        Err(_) => StatusCode::BAD_REQUEST.into_response(),
    }
}

/// Sends a browser elsewhere, as the compatible API does after a consent.
pub(in crate::api) fn found(location: &str) -> Response {
    let mut response = see_other(location);
    if response.status() == StatusCode::SEE_OTHER {
        *response.status_mut() = StatusCode::FOUND;
    }
    response
}

/// Plain JSON, as the pages of the compatible API answer it.
pub(in crate::api) fn json_answer(status: StatusCode, document: &Value) -> Response {
    let mut response = Response::new(Body::from(document.to_string()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    set(headers, CONTENT_TYPE, MediaType::Json.content_type());
    common(headers);
    response
}

/// The same answer with cookies.
pub(in crate::api) fn with_cookies(
    mut response: Response,
    cookies: impl IntoIterator<Item = HeaderValue>,
) -> Response {
    for cookie in cookies {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    response
}
