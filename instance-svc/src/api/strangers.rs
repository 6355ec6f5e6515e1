//! What a stranger may call, over HTTP and over gRPC: one list. Everything else needs a session or a token, whatever its handler does.

use axum::{
    extract::Request,
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{
    HeaderMap, HeaderValue, Method, Uri,
    header::{AUTHORIZATION, WWW_AUTHENTICATE},
};
use service_kit::{caller::Caller, json_api};
use url::form_urlencoded;

use crate::{domain::bearer::Refused, error::Error};

/// The methods and paths for strangers. A path that ends in a slash stands for all below it; `HEAD` is as `GET`.
const FOR_STRANGERS: [(&Method, &str); 42] = [
    (&Method::GET, "/"),
    (&Method::GET, "/.well-known/change-password"),
    (&Method::GET, "/assets/"),
    (&Method::GET, "/auth/login"),
    (&Method::POST, "/auth/login"),
    // These say in their own words who may.
    (&Method::DELETE, "/auth/login"),
    (&Method::DELETE, "/auth/login/others"),
    (&Method::GET, "/auth/passphrase"),
    // What comes by mail, and asking for it.
    (&Method::POST, "/auth/hint"),
    (&Method::GET, "/auth/magic_link"),
    (&Method::POST, "/auth/magic_link"),
    (&Method::POST, "/auth/magic_link/twofactor"),
    (&Method::POST, "/auth/onboarding/resend"),
    (&Method::GET, "/auth/passphrase_renew"),
    (&Method::POST, "/auth/passphrase_renew"),
    (&Method::GET, "/auth/passphrase_reset"),
    (&Method::POST, "/auth/passphrase_reset"),
    (&Method::GET, "/auth/twofactor"),
    (&Method::POST, "/auth/twofactor"),
    // Forms of pages: a stranger is led to the login.
    (&Method::POST, "/auth/logout"),
    (&Method::POST, "/auth/passphrase"),
    (&Method::POST, "/auth/passphrase/code"),
    (&Method::POST, "/auth/second_factor"),
    (&Method::POST, "/auth/sessions/"),
    (&Method::GET, "/settings/apps/"),
    (&Method::POST, "/settings/apps/"),
    (&Method::GET, "/settings/konnectors/"),
    (&Method::POST, "/settings/konnectors/"),
    // OAuth clients: they say themselves who they are, with a secret or the token of their registration.
    (&Method::POST, "/auth/register"),
    (&Method::GET, "/auth/register/"),
    (&Method::PUT, "/auth/register/"),
    (&Method::DELETE, "/auth/register/"),
    (&Method::POST, "/auth/access_token"),
    // A stranger is led to the login.
    (&Method::GET, "/auth/authorize"),
    (&Method::POST, "/auth/authorize"),
    (&Method::POST, "/auth/clients/end"),
    // What is not built yet.
    (&Method::GET, "/auth/"),
    (&Method::POST, "/auth/"),
    (&Method::GET, "/public/"),
    (&Method::GET, "/settings"),
    // With a register token.
    (&Method::GET, "/settings/instance"),
    (&Method::POST, "/settings/passphrase"),
];

/// The methods of gRPC for strangers.
pub(crate) const GRPC_FOR_STRANGERS: [&str; 3] = [
    "/hamlet.instance.v1.TenantService/GetTenant",
    // With a register token.
    "/hamlet.instance.v1.TenantService/CheckRegisterToken",
    "/hamlet.instance.v1.TenantService/RegisterPassphrase",
];

fn is_for_strangers(method: &Method, path: &str) -> bool {
    let method = if method == Method::HEAD {
        &Method::GET
    } else {
        method
    };
    FOR_STRANGERS.iter().any(|(of, at)| {
        let below = at.len() > 1 && at.ends_with('/') && path.starts_with(at);
        *of == method && (path == *at || below)
    })
}

/// Refuses strangers where they may not call. A token that proves nothing is judged where it is used, which says why.
pub(super) async fn refuse(request: Request, next: Next) -> Response {
    let caller = request.extensions().get::<Caller>();
    let is_known = caller.is_some_and(|caller| caller.identity().is_some())
        || token_in(request.headers(), request.uri()).is_some();
    if is_known || is_for_strangers(request.method(), request.uri().path()) {
        return next.run(request).await;
    }
    let mut response = json_api::Error::from(Error::Token(Refused::Missing)).into_response();
    let headers = response.headers_mut();
    headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}

/// The token of a request: as `Bearer`, as the password of `Basic`, or in the query.
pub(super) fn token_in(headers: &HeaderMap, uri: &Uri) -> Option<String> {
    let sent = headers.get(AUTHORIZATION);
    if let Some((scheme, value)) = sent.and_then(|sent| sent.to_str().ok()?.split_once(' ')) {
        let value = value.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            return Some(value.to_owned());
        }
        if scheme.eq_ignore_ascii_case("basic") {
            let pair = String::from_utf8(STANDARD.decode(value).ok()?).ok()?;
            return Some(pair.split_once(':')?.1.to_owned());
        }
        return None;
    }
    let query = uri.query().unwrap_or_default();
    form_urlencoded::parse(query.as_bytes())
        .find(|(name, _)| name == "bearer_token")
        .map(|(_, token)| token.into_owned())
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::is_for_strangers;

    #[test]
    fn the_list_covers_what_it_says_and_nothing_beside() {
        for (method, path, is_listed) in [
            (Method::GET, "/", true),
            (Method::HEAD, "/auth/login", true),
            (Method::POST, "/", false),
            (Method::GET, "/assets/login.js", true),
            (Method::GET, "/public/prelogin", true),
            (Method::POST, "/auth/sessions/end", true),
            (Method::GET, "/settings", true),
            (Method::GET, "/settings/", false),
            (Method::GET, "/settings/sessions", false),
            (Method::PUT, "/settings/passphrase", false),
            (Method::GET, "/settings/instance/x", false),
            (Method::GET, "/apps/", false),
            (Method::GET, "/apps/home", false),
            (Method::DELETE, "/apps/home", false),
            (Method::GET, "/permissions/self", false),
        ] {
            assert_eq!(
                is_for_strangers(&method, path),
                is_listed,
                "{method} {path}"
            );
        }
    }
}
