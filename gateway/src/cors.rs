//! Who may read answers of an instance from a page of another origin (<https://fetch.spec.whatwg.org/#http-cors-protocol>).
//!
//! The apps of an instance have origins of their own, and call its API with a token that counts only together with the session
//! of the browser. So pages of these origins may send the session, and those of others may not: with flat subdomains, the
//! apps of all instances of a domain are of one site, and a browser would send the session for each of them. Pages for people
//! are for nobody's scripts, and neither is what the session alone opens: otherwise an app could do there what its own token
//! does not allow. What has neither token nor cookie is answered as to anybody, so every page may read that: a script would
//! otherwise not learn why it is refused.

use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode,
    header::{
        ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS,
        ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS,
        ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD,
        AUTHORIZATION, CONTENT_TYPE, COOKIE, ORIGIN, VARY,
    },
};

use crate::{
    answer::Body,
    directory::{Directory, HostEntry, Resolution},
    host::Host,
};

/// What scripts do with the API.
const METHODS: &str = "GET, HEAD, PUT, PATCH, POST, DELETE";
/// Headers that scripts may read besides those that all may.
const EXPOSED: &str = "etag, content-range, content-disposition, retry-after, www-authenticate";
/// How long a browser remembers what it may send, in seconds.
const REMEMBERED: &str = "7200";
/// What a script may do below `/auth/`: log its own session out, and the others.
const LOG_OUT: [&str; 2] = ["/auth/login", "/auth/login/others"];

/// A request of a page of another origin.
pub(crate) struct CrossOrigin {
    origin: HeaderValue,
    /// What the page wants to send, before it sends it.
    announced: Option<HeaderMap>,
    has_token: bool,
    /// Whether it comes without a token and without any cookie, so that its answer is for anybody.
    is_anonymous: bool,
    is_open: bool,
    logs_out: bool,
}

impl CrossOrigin {
    /// Reads a request; `None` when it names no origin.
    pub(crate) fn of<B>(request: &Request<B>) -> Option<Self> {
        let headers = request.headers();
        let origin = headers.get(ORIGIN)?.clone();
        let announced = headers.get(ACCESS_CONTROL_REQUEST_METHOD);
        let is_preflight = request.method() == Method::OPTIONS && announced.is_some();
        let method = match announced {
            Some(method) if is_preflight => method.as_bytes(),
            _ => request.method().as_str().as_bytes(),
        };
        let path = request.uri().path();
        let is_of_pages = path == "/auth" || path.starts_with("/auth/");
        let logs_out = LOG_OUT.contains(&path) && method == b"DELETE";
        let has_token = headers.contains_key(AUTHORIZATION);
        Some(Self {
            origin,
            announced: is_preflight.then(|| headers.clone()),
            has_token,
            is_anonymous: !has_token && !headers.contains_key(COOKIE),
            is_open: !is_of_pages || logs_out,
            logs_out,
        })
    }

    /// The answer to a request that asks what may be sent; `None` for other requests, and where nothing may be.
    pub(crate) async fn preflight(
        &self,
        directory: &Directory,
        host: &Host,
    ) -> Option<Response<Body>> {
        let announced = self.announced.as_ref().filter(|_| self.is_open)?;
        let mut response = Response::new(Body::Empty);
        *response.status_mut() = StatusCode::NO_CONTENT;
        let headers = response.headers_mut();
        self.allow(directory, host, headers).await?;
        headers.insert(
            ACCESS_CONTROL_ALLOW_METHODS,
            HeaderValue::from_static(METHODS),
        );
        if let Some(wanted) = announced.get(ACCESS_CONTROL_REQUEST_HEADERS) {
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
        }
        headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(REMEMBERED));
        Some(response)
    }

    /// Whether the session alone must not count, because the page of another host may read the answer: a token that proves
    /// nothing would open to it what its own token does not allow.
    pub(crate) fn needs_token(&self, host: &Host) -> bool {
        let origin = self.origin.to_str().ok();
        let authority = origin.and_then(|origin| Some(origin.split_once("://")?.1));
        let is_own = authority
            .and_then(|authority| Host::parse(authority).ok())
            .is_some_and(|of| of.name() == host.name());
        self.has_token && self.is_open && !self.logs_out && !is_own
    }

    /// Lets the page read an answer, if it may.
    pub(crate) async fn open(&self, directory: &Directory, host: &Host, headers: &mut HeaderMap) {
        let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
        let is_page = kind.is_some_and(|kind| kind.starts_with(b"text/html"));
        let is_told = headers.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN);
        let may_read =
            (self.has_token || self.is_anonymous) && self.is_open && !is_page && !is_told;
        if may_read && self.allow(directory, host, headers).await.is_some() {
            headers.insert(
                ACCESS_CONTROL_EXPOSE_HEADERS,
                HeaderValue::from_static(EXPOSED),
            );
        }
    }

    /// `None` when the host is not that of an instance.
    async fn allow(
        &self,
        directory: &Directory,
        host: &Host,
        headers: &mut HeaderMap,
    ) -> Option<()> {
        let Resolution::Found(entry) = directory.resolve(host).await else {
            return None;
        };
        if !entry.app_slug.is_empty() {
            return None;
        }
        headers.append(VARY, HeaderValue::from_static("origin"));
        if self.is_of_an_app(directory, host, &entry).await {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, self.origin.clone());
            headers.insert(
                ACCESS_CONTROL_ALLOW_CREDENTIALS,
                HeaderValue::from_static("true"),
            );
        } else {
            // Who has a token has it whatever the page.
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        }
        Some(())
    }

    /// Whether the origin is that of an app of the instance.
    async fn is_of_an_app(&self, directory: &Directory, host: &Host, entry: &HostEntry) -> bool {
        let origin = self.origin.to_str().ok();
        let Some((scheme, authority)) = origin.and_then(|origin| origin.split_once("://")) else {
            return false;
        };
        let url = entry.tenant.url();
        if url.split_once("://").map(|(scheme, _)| scheme) != Some(scheme) {
            // Somebody on the way could pose as the host of an app that is not encrypted.
            return false;
        }
        let Ok(app) = Host::parse(authority) else {
            return false;
        };
        // A stranger's origin costs no look-up.
        if !may_be_of(app.name(), host.name()) {
            return false;
        }
        match directory.resolve(&app).await {
            Resolution::Found(app) => !app.app_slug.is_empty() && app.tenant.id == entry.tenant.id,
            Resolution::Moved(_) | Resolution::Unknown | Resolution::OutOfReach => false,
        }
    }
}

/// Whether a host has the form of one of an app of the instance at another host: `slug.instance` or `name-slug.parent`.
fn may_be_of(app: &str, instance: &str) -> bool {
    let is_below = |app: &str| {
        let label = app.strip_suffix(instance)?.strip_suffix('.')?;
        Some(!label.is_empty() && !label.contains('.'))
    };
    let is_beside = |app: &str| {
        let (label, parent) = app.split_once('.')?;
        let (name, of) = instance.split_once('.')?;
        let slug = label.strip_prefix(name)?.strip_prefix('-')?;
        Some(parent == of && !slug.is_empty())
    };
    is_below(app) == Some(true) || is_beside(app) == Some(true)
}

#[cfg(test)]
mod tests {
    use super::may_be_of;

    #[test]
    fn the_hosts_of_apps_have_one_of_two_forms() {
        for app in [
            "drive.ann.example",
            "ann-drive.example",
            "ann-my-app.example",
        ] {
            assert!(may_be_of(app, "ann.example"), "{app}");
        }
        for other in [
            "ann.example",
            "a.b.ann.example",
            ".ann.example",
            "xann.example",
            "ann-.example",
            "ann-drive.other",
            "anna-drive.example",
            "evil.test",
        ] {
            assert!(!may_be_of(other, "ann.example"), "{other}");
        }
    }
}
