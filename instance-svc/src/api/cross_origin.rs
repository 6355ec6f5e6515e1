//! Which pages of other origins may read answers (CORS).
//!
//! The apps of an instance have hosts of their own. Their pages may send the owner's cookie, as if they were the instance's.
//! Pages of all other origins may use the API with a token that they were given, and without cookies.

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode,
    header::{
        ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS,
        ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE,
        ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, HOST, ORIGIN, VARY,
    },
};
use service_kit::caller::Caller;
use url::Url;

use super::Shared;
use crate::domain::own_hosts::{authority, slug_of};

const METHODS: HeaderValue = HeaderValue::from_static("GET,HEAD,PUT,PATCH,POST,DELETE");
/// How long a browser may keep the answer, in seconds.
const MAX_AGE: HeaderValue = HeaderValue::from_static("43200");
/// The longest list of headers that is repeated.
const LONGEST: usize = 1024;

/// Answers the questions of browsers before a request, and says in each answer who may read it.
pub(super) async fn allow(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let Some(origin) = request.headers().get(ORIGIN).cloned() else {
        return next.run(request).await;
    };
    let is_own = is_own(&shared, &request, &origin);
    // Whoever logs in or out there does so on pages of the instance and its apps.
    let is_allowed = is_own || !request.uri().path().starts_with("/auth/");
    let headers = request.headers();
    let asks =
        request.method() == Method::OPTIONS && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    let wanted = headers.get(ACCESS_CONTROL_REQUEST_HEADERS).cloned();
    let mut response = if asks {
        StatusCode::NO_CONTENT.into_response()
    } else {
        next.run(request).await
    };
    let headers = response.headers_mut();
    headers.append(VARY, HeaderValue::from(ORIGIN));
    if asks {
        for name in [
            ACCESS_CONTROL_REQUEST_METHOD,
            ACCESS_CONTROL_REQUEST_HEADERS,
        ] {
            headers.append(VARY, HeaderValue::from(name));
        }
    }
    if !is_allowed {
        return response;
    }
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    if is_own {
        set(headers, ACCESS_CONTROL_ALLOW_CREDENTIALS, "true");
    }
    if asks {
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        headers.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
        if let Some(wanted) = wanted.filter(|wanted| wanted.len() <= LONGEST) {
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, wanted);
        }
    }
    response
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &'static str) {
    headers.insert(name, HeaderValue::from_static(value));
}

/// Whether a page of the instance itself or of one of its apps asks.
fn is_own(shared: &Shared, request: &Request, origin: &HeaderValue) -> bool {
    let tenant = request.extensions().get::<Caller>();
    let tenant = tenant.and_then(|caller| caller.tenant().ok());
    let host = request.headers().get(HOST).and_then(|it| it.to_str().ok());
    let url = origin.to_str().ok().and_then(|it| Url::parse(it).ok());
    let (Some(tenant), Some(host), Some(url)) = (tenant, host, url) else {
        return false;
    };
    let subdomains = shared.contexts.get(&tenant.context).subdomains;
    let own_scheme = shared.config.instance_scheme.name();
    let origin = authority(&url);
    url.scheme() == own_scheme && (origin == host || slug_of(origin, host, subdomains).is_some())
}
