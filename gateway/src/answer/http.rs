//! The gateway's own answers to plain HTTP requests, with content negotiation.

use ::http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode,
    header::{
        ACCEPT_LANGUAGE, ALLOW, CACHE_CONTROL, CONTENT_LANGUAGE, CONTENT_LENGTH,
        CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION, REFERRER_POLICY, RETRY_AFTER, VARY,
        WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
    },
};
use bytes::Bytes;
use hamlet_pages::{
    Text,
    accept::{self, MediaType},
};
use hamlet_proto::hamlet::instance::v1::Operator;
use serde_json::json;
use service_kit::status::ServiceError as _;
use tonic::Code;

use super::Body;
use crate::{
    pages::{FAVICON, Page, Pages},
    refusal::Refusal,
};

/// The policy of what is for programs: a browser that shows it loads nothing and runs nothing.
const FOR_PROGRAMS: &str = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'";

/// Adds what keeps a browser from taking an answer of a service for something else than it is: it does not guess the type,
/// and JSON is no page. What the service has set itself stays.
pub(crate) fn keep_from_guesses(headers: &mut HeaderMap) {
    headers
        .entry(X_CONTENT_TYPE_OPTIONS)
        .or_insert(HeaderValue::from_static("nosniff"));
    let kind = headers.get(CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim();
    if essence.ends_with("json") {
        headers
            .entry(CONTENT_SECURITY_POLICY)
            .or_insert(HeaderValue::from_static(FOR_PROGRAMS));
    }
}

/// The outcome of content negotiation: the form and language in which a request is answered.
#[derive(Clone, Debug)]
pub(crate) struct Negotiated {
    head_only: bool,
    media_type: MediaType,
    languages: HeaderMap,
}

impl Negotiated {
    /// `pages_by_default` decides for requests without `Accept`: HTML, or else JSON.
    pub(crate) fn of<B>(request: &Request<B>, pages_by_default: bool) -> Self {
        let otherwise = if pages_by_default {
            MediaType::Html
        } else {
            MediaType::Json
        };
        // The rest is not needed, and every forwarded request would pay for its copy.
        let mut languages = HeaderMap::new();
        for value in request.headers().get_all(ACCEPT_LANGUAGE) {
            languages.append(ACCEPT_LANGUAGE, value.clone());
        }
        Self {
            head_only: request.method() == Method::HEAD,
            media_type: accept::media_type(request.headers(), otherwise),
            languages,
        }
    }

    pub(crate) fn language(&self, pages: &Pages, locale: &str) -> String {
        accept::language(&self.languages, |language| pages.knows(language))
            .unwrap_or_else(|| pages.language_of(locale).to_owned())
    }

    /// As [`Self::page_by`], for a page of nobody's.
    pub(crate) fn page(&self, pages: &Pages, page: &Page<'_>, locale: &str) -> Response<Body> {
        self.page_by(pages, page, locale, None)
    }

    /// Answers with a page, or with its content in the negotiated media type. The language is that of the
    /// instance's `locale` when the request names none. The operator is named at the end of the page.
    pub(crate) fn page_by(
        &self,
        pages: &Pages,
        page: &Page<'_>,
        locale: &str,
        operator: Option<&Operator>,
    ) -> Response<Body> {
        let language = self.language(pages, locale);
        let text = pages.text(page, &language);
        let status = page.status();
        let body = match self.media_type {
            MediaType::Html => pages.html(&text, &language, operator),
            MediaType::Text => plain_page(&text, operator),
            MediaType::Json | MediaType::JsonApi => {
                let told = text.paragraphs.join(" ");
                errors(status, page.code(), page.summary(), &told).to_string()
            }
        };
        let mut response = self.with_body(status, self.media_type.content_type(), body);
        response = self.in_language(response, &language);
        let headers = response.headers_mut();
        if self.media_type == MediaType::Html {
            headers.insert(CONTENT_SECURITY_POLICY, pages.policy().clone());
            headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
        }
        if page.may_pass() {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("5"));
        }
        response
    }

    /// Answers with JSON, without negotiation.
    pub(crate) fn json(&self, status: StatusCode, document: &serde_json::Value) -> Response<Body> {
        let mut response =
            self.with_body(status, MediaType::Json.content_type(), document.to_string());
        response.headers_mut().insert(
            CONTENT_SECURITY_POLICY,
            HeaderValue::from_static(FOR_PROGRAMS),
        );
        response
    }

    /// Whether HTML was negotiated.
    pub(crate) fn wants_page(&self) -> bool {
        self.media_type == MediaType::Html
    }

    /// Tells that a service has not answered: a page for people, and the reason for programs.
    pub(crate) fn refuse(&self, pages: &Pages, refusal: &Refusal, locale: &str) -> Response<Body> {
        if !self.wants_page() {
            return self.refuse_program(refusal);
        }
        let status = status_of(refusal, refusal.status().code());
        let mut response = self.page(pages, &Page::OutOfReach, locale);
        *response.status_mut() = status;
        retry_later(status, response.headers_mut());
        response
    }

    /// The same with the reason, whatever the caller accepts: for a door without pages.
    pub(crate) fn refuse_program(&self, refusal: &Refusal) -> Response<Body> {
        let told = refusal.status();
        let status = status_of(refusal, told.code());
        let title = status.canonical_reason().unwrap_or_default();
        let mut response = self.json_api(
            status,
            &errors(status, told.reason(), title, told.message()),
        );
        retry_later(status, response.headers_mut());
        response
    }

    /// Answers with JSON:API, without negotiation, as the compatible API does.
    pub(crate) fn json_api(
        &self,
        status: StatusCode,
        document: &serde_json::Value,
    ) -> Response<Body> {
        self.with_body(
            status,
            MediaType::JsonApi.content_type(),
            document.to_string(),
        )
    }

    /// Marks an answer as written in a language that the request chose.
    pub(crate) fn in_language(
        &self,
        mut response: Response<Body>,
        language: &str,
    ) -> Response<Body> {
        let headers = response.headers_mut();
        headers.insert(VARY, HeaderValue::from_static("accept, accept-language"));
        if let Ok(language) = HeaderValue::try_from(language) {
            headers.insert(CONTENT_LANGUAGE, language);
        }
        response
    }

    fn with_body(
        &self,
        status: StatusCode,
        content_type: &'static str,
        body: String,
    ) -> Response<Body> {
        let length = body.len();
        let mut response = Response::new(if self.head_only {
            Body::Empty
        } else {
            Body::Full(Bytes::from(body))
        });
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        common(headers);
        response
    }
}

fn status_of(refusal: &Refusal, code: Code) -> StatusCode {
    match code {
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::InvalidArgument => StatusCode::BAD_REQUEST,
        Code::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        _ if matches!(refusal, Refusal::BrokenOff { .. }) => StatusCode::BAD_GATEWAY,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// Says when to try again what may pass.
fn retry_later(status: StatusCode, headers: &mut HeaderMap) {
    let may_pass = [
        StatusCode::TOO_MANY_REQUESTS,
        StatusCode::BAD_GATEWAY,
        StatusCode::SERVICE_UNAVAILABLE,
    ];
    if may_pass.contains(&status) {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
}

fn common(headers: &mut HeaderMap) {
    const HEADERS: [(HeaderName, &str); 3] = [
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // The state of an instance may change at any moment.
        (CACHE_CONTROL, "no-store"),
        // The address may hold a register token.
        (REFERRER_POLICY, "no-referrer"),
    ];
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

/// A JSON:API error document with one error.
pub(crate) fn errors(
    status: StatusCode,
    code: &str,
    title: &str,
    detail: &str,
) -> serde_json::Value {
    json!({"errors": [{
        "status": status.as_str(),
        "code": code,
        "title": title,
        "detail": detail,
        "source": {},
    }]})
}

/// A page in plain text. Who runs the installation is told at the end, as in HTML.
fn plain_page(text: &Text, operator: Option<&Operator>) -> String {
    let mut parts = vec![text.title.clone()];
    parts.extend(text.paragraphs.iter().cloned());
    if let Some(it) = operator {
        let known = [&it.name, &it.contact, &it.link];
        let known = known.into_iter().filter(|part| !part.is_empty());
        let known: Vec<_> = known.map(String::as_str).collect();
        parts.push(known.join(" · "));
    }
    format!("{}\n", parts.join("\n\n"))
}

/// An answer in plain text, for requests that are not well-formed.
pub(crate) fn plain(status: StatusCode, text: &str) -> Response<Body> {
    let mut response = Response::new(Body::Full(Bytes::from(format!("{text}\n"))));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static(MediaType::Text.content_type()),
    );
    common(headers);
    response
}

/// The answer to a request that does not read, where one can only read: what can be done there. `None` for one that reads.
pub(crate) fn unless_read<B>(request: &Request<B>) -> Option<Response<Body>> {
    let method = request.method();
    if [Method::GET, Method::HEAD].contains(method) {
        return None;
    }
    let mut response = if method == Method::OPTIONS {
        let mut response = Response::new(Body::Empty);
        *response.status_mut() = StatusCode::NO_CONTENT;
        response
    } else {
        let status = StatusCode::METHOD_NOT_ALLOWED;
        let title = status.canonical_reason().unwrap_or_default();
        let told = "the path has no such method; Allow lists those that it has";
        let document = errors(status, "METHOD_NOT_ALLOWED", title, told);
        let asked = Negotiated::of(request, false);
        match asked.media_type {
            MediaType::JsonApi => asked.json_api(status, &document),
            _ => asked.json(status, &document),
        }
    };
    response
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    Some(response)
}

/// Refuses a method where only others are possible.
pub(crate) fn only(allowed: &'static str, told: &str) -> Response<Body> {
    let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, told);
    response
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

/// Redirects to the same path at another domain. The location has no scheme, because the gateway does not
/// know whether TLS ends in front of it.
pub(crate) fn redirect(domain: &str, path_and_query: &str) -> Option<Response<Body>> {
    let (host, port) = match domain.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => (host, Some(port)),
        _ => (domain, None),
    };
    // Domains are kept in Unicode; headers are ASCII.
    let host = idna::domain_to_ascii(host).ok()?;
    let authority = port.map_or_else(|| host.clone(), |port| format!("{host}:{port}"));
    let location = HeaderValue::try_from(format!("//{authority}{path_and_query}")).ok()?;
    let mut response = plain(StatusCode::PERMANENT_REDIRECT, "this address has changed");
    response.headers_mut().insert(LOCATION, location);
    Some(response)
}

/// Redirects to another path of the same host for now, as the original does.
pub(crate) fn found_at(location: &'static str) -> Response<Body> {
    let mut response = plain(StatusCode::FOUND, "go on at the address in Location");
    response
        .headers_mut()
        .insert(LOCATION, HeaderValue::from_static(location));
    response
}

/// Redirects to another path of the same host, with GET.
fn see_other(location: &str) -> Response<Body> {
    let mut response = plain(StatusCode::SEE_OTHER, "go on at the address in Location");
    match HeaderValue::try_from(location) {
        Ok(location) => {
            response.headers_mut().insert(LOCATION, location);
            response
        }
        // A query that came in as a URI can stand in a header.
        Err(_) => plain(StatusCode::BAD_REQUEST, "the address cannot be used"),
    }
}

/// Leads to the start page of an instance, for now.
pub(crate) fn to_start(url: &str) -> Response<Body> {
    let mut response = see_other(url);
    if response.headers().contains_key(LOCATION) {
        *response.status_mut() = StatusCode::FOUND;
    }
    response
}

/// The icon of all pages.
pub(crate) fn favicon(head_only: bool) -> Response<Body> {
    let mut response = Response::new(if head_only {
        Body::Empty
    } else {
        Body::Full(Bytes::from_static(FAVICON.as_bytes()))
    });
    let headers = response.headers_mut();
    common(headers);
    headers.insert(CONTENT_LENGTH, HeaderValue::from(FAVICON.len()));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("image/svg+xml"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=86400"));
    response
}

/// Tells robots that nothing is for them: an instance is of one person.
pub(crate) fn robots(head_only: bool) -> Response<Body> {
    const ROBOTS: &str = "User-agent: *\nDisallow: /\n";
    let mut response = Response::new(if head_only {
        Body::Empty
    } else {
        Body::Full(Bytes::from_static(ROBOTS.as_bytes()))
    });
    let headers = response.headers_mut();
    common(headers);
    headers.insert(CONTENT_LENGTH, HeaderValue::from(ROBOTS.len()));
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static(MediaType::Text.content_type()),
    );
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=86400"));
    response
}

/// Asks for the admin credential.
pub(crate) fn challenge(headers: &mut HeaderMap) {
    headers.append(
        WWW_AUTHENTICATE,
        HeaderValue::from_static("Bearer realm=\"hamlet\""),
    );
    headers.append(
        WWW_AUTHENTICATE,
        HeaderValue::from_static("Basic realm=\"hamlet\", charset=\"UTF-8\""),
    );
}
