//! Cross-origin resource sharing: which pages of other origins may read an answer (`[cors]` of the settings).
//!
//! Source: the Fetch standard, section 3.3, with the headers that CouchDB 3 sends.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};

use super::{body::Body, config::Settings, request::ApiRequest};

/// The methods that are allowed where the settings name none.
const METHODS: &str = "CONNECT, COPY, DELETE, GET, HEAD, OPTIONS, POST, PUT, TRACE";

/// The headers that a page may send where the settings name none, in lower case.
const HEADERS: [&str; 19] = [
    "accept",
    "accept-language",
    "authorization",
    "content-length",
    "content-range",
    "content-type",
    "destination",
    "expires",
    "if-match",
    "last-modified",
    "origin",
    "pragma",
    "x-couch-full-commit",
    "x-couch-id",
    "x-couch-persist",
    "x-couchdb-www-authenticate",
    "x-http-method-override",
    "x-requested-with",
    "x-couchdb-vhost-path",
];

/// An origin that the settings allow.
pub(crate) struct Allowed {
    origin: HeaderValue,
    has_credentials: bool,
}

impl Allowed {
    /// The origin of a request; `None` when it has none, or one that is not allowed.
    pub(crate) fn of(settings: &Settings, headers: &HeaderMap) -> Option<Self> {
        let origin = headers.get(header::ORIGIN)?;
        if !settings.is_on("chttpd", "enable_cors") {
            return None;
        }
        let origins = settings.get("cors", "origins");
        let is_allowed = listed(&origins)
            .any(|allowed| allowed == "*" || allowed.as_bytes() == origin.as_bytes());
        is_allowed.then(|| Self {
            origin: origin.clone(),
            has_credentials: settings.is_on("cors", "credentials"),
        })
    }

    /// The answer to a browser that asks whether a page may send a request; `None` when `request` asks for something
    /// else, or the request may not be sent. Nobody has to log in for it, and nothing has to exist.
    pub(crate) fn preflight(
        &self,
        settings: &Settings,
        request: &ApiRequest,
    ) -> Option<Response<Body>> {
        if request.method != Method::OPTIONS {
            return None;
        }
        let wanted = request.header(header::ACCESS_CONTROL_REQUEST_METHOD)?;
        let methods = match settings.get("cors", "methods") {
            set if set.is_empty() => METHODS.to_owned(),
            set => set,
        };
        if !listed(&methods).any(|method| method == wanted) {
            return None;
        }
        let sent = request
            .header(header::ACCESS_CONTROL_REQUEST_HEADERS)
            .unwrap_or_default();
        let known = settings.get("cors", "headers").to_lowercase();
        let is_known = |name: &str| {
            let name = name.to_lowercase();
            if known.is_empty() {
                HEADERS.contains(&name.as_str())
            } else {
                listed(&known).any(|known| known == name)
            }
        };
        if !listed(sent).all(is_known) {
            return None;
        }
        let mut response = Response::new(Body::full(""));
        *response.status_mut() = StatusCode::NO_CONTENT;
        let headers = response.headers_mut();
        self.allow(headers);
        let max_age = settings.get("cors", "max_age");
        for (name, value) in [
            (header::ACCESS_CONTROL_ALLOW_METHODS, methods.as_str()),
            (header::ACCESS_CONTROL_ALLOW_HEADERS, sent),
            (header::ACCESS_CONTROL_MAX_AGE, max_age.as_str()),
        ] {
            // A text that no header can hold is left out.
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(name, value);
            }
        }
        Some(response)
    }

    /// Lets the page read an answer.
    pub(crate) fn mark(&self, headers: &mut HeaderMap) {
        self.allow(headers);
        let exposed = if headers.contains_key(header::CACHE_CONTROL) {
            "content-type, cache-control, accept-ranges, etag, server, x-couch-request-id, x-couch-update-newrev, \
             x-couchdb-body-time"
        } else {
            "content-type, accept-ranges, etag, server, x-couch-request-id, x-couch-update-newrev, x-couchdb-body-time"
        };
        headers.insert(
            header::ACCESS_CONTROL_EXPOSE_HEADERS,
            HeaderValue::from_static(exposed),
        );
    }

    fn allow(&self, headers: &mut HeaderMap) {
        const YES: HeaderValue = HeaderValue::from_static("true");
        const CREDENTIALS: HeaderName = header::ACCESS_CONTROL_ALLOW_CREDENTIALS;
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, self.origin.clone());
        if self.has_credentials {
            headers.insert(CREDENTIALS, YES);
        }
    }
}

/// The items of a list with commas.
fn listed(list: &str) -> impl Iterator<Item = &str> {
    list.split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
}
