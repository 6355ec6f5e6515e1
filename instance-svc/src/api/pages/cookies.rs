//! The cookies of a browser.

use http::{HeaderMap, HeaderValue, header::COOKIE};
use identity::{
    second_factor::TRUST_LIFE,
    secrets::{CSRF_COOKIE, CSRF_LIFE, DEVICE_COOKIE, DEVICE_LIFE},
};
use service_kit::contexts::Subdomains;
use tonic::Status;

use crate::{actions::begin_session::Begun, error::Error};

/// The name of the cookie of a browser from which no code is asked for.
pub(super) const TRUST_COOKIE: &str = "hamlet-trusted";

/// The value of a cookie that the browser sent.
pub(super) fn read<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    all(headers, name).next()
}

/// All values that the browser sent under a name.
pub(in crate::api) fn all<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = &'a str> {
    let lines = headers.get_all(COOKIE).iter();
    let pairs = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'));
    pairs
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(move |(of, _)| *of == name)
        .map(|(_, value)| value)
}

/// Makes the lines that set cookies, for the host of a request.
#[derive(Clone, Copy, Debug)]
pub(in crate::api) struct SetCookie<'a> {
    pub(super) host: &'a str,
    pub(super) subdomains: Subdomains,
    pub(super) is_secure: bool,
}

impl SetCookie<'_> {
    /// The hosts that get the session cookie: that of the instance and those of its apps. With flat hosts, the apps are
    /// beside the instance.
    fn domain(&self) -> &str {
        let name = self.host.split(':').next().unwrap_or_default();
        match (self.subdomains, name.split_once('.')) {
            (Subdomains::Flat, Some((_, rest))) => rest,
            (Subdomains::Flat | Subdomains::Nested, _) => name,
        }
    }

    const fn secure(&self) -> &'static str {
        if self.is_secure { "; Secure" } else { "" }
    }

    /// The cookie of a session.
    pub(super) fn session(&self, begun: &Begun) -> Result<HeaderValue, Error> {
        let life = begun.kind.max_age();
        let life = life.map_or_else(String::new, |age| format!("; Max-Age={age}"));
        line(format!(
            "{}={}; Path=/; Domain={}{life}; HttpOnly{}; SameSite=Lax",
            begun.name,
            begun.value.expose(),
            self.domain(),
            self.secure()
        ))
    }

    /// Removes the cookie of a session.
    pub(in crate::api) fn without_session(&self, name: &str) -> Result<HeaderValue, Error> {
        line(format!(
            "{name}=; Path=/; Domain={}; Max-Age=0",
            self.domain()
        ))
    }

    /// The value that forms have to repeat.
    pub(super) fn csrf(&self, value: &str) -> Result<HeaderValue, Error> {
        line(format!(
            "{CSRF_COOKIE}={value}; Path=/auth; Max-Age={CSRF_LIFE}; HttpOnly{}; SameSite=Strict",
            self.secure()
        ))
    }

    /// The mark of a browser from which the owner has logged in. Only the host itself gets it.
    pub(super) fn device(&self, value: &str) -> Result<HeaderValue, Error> {
        line(format!(
            "{DEVICE_COOKIE}={value}; Path=/auth; Max-Age={DEVICE_LIFE}; HttpOnly{}; SameSite=Strict",
            self.secure()
        ))
    }

    /// The mark of a browser from which no code is asked for. Only the host itself gets it.
    pub(super) fn trusted(&self, value: &str) -> Result<HeaderValue, Error> {
        line(format!(
            "{TRUST_COOKIE}={value}; Path=/auth; Max-Age={}; HttpOnly{}; SameSite=Strict",
            TRUST_LIFE.as_secs(),
            self.secure()
        ))
    }
}

fn line(text: String) -> Result<HeaderValue, Error> {
    let mut line = HeaderValue::try_from(text)
        .map_err(|_| Error::Service(Status::internal("a cookie cannot stand in a header")))?;
    line.set_sensitive(true);
    Ok(line)
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use http::HeaderMap;
    use identity::session::Kind;
    use service_kit::{
        contexts::Subdomains::{Flat, Nested},
        secret::Secret,
    };

    use super::{SetCookie, read};
    use crate::actions::begin_session::Begun;

    #[test]
    fn cookies_are_those_of_the_compatible_software() {
        let begun = |name: &str, kind| Begun {
            name: name.to_owned(),
            value: Secret::new("V"),
            kind,
        };
        for (host, subdomains, is_secure, name, kind, line) in [
            (
                "alice.example.org",
                Nested,
                true,
                "cozysessid",
                Kind::Normal,
                "cozysessid=V; Path=/; Domain=alice.example.org; HttpOnly; Secure; SameSite=Lax",
            ),
            (
                "alice.example.org",
                Flat,
                true,
                "sess-cozyX",
                Kind::Long,
                "sess-cozyX=V; Path=/; Domain=example.org; Max-Age=315360000; HttpOnly; Secure; SameSite=Lax",
            ),
            (
                "pete.localhost:8085",
                Nested,
                false,
                "cozysessid",
                Kind::Short,
                "cozysessid=V; Path=/; Domain=pete.localhost; Max-Age=300; HttpOnly; SameSite=Lax",
            ),
        ] {
            let set = SetCookie {
                host,
                subdomains,
                is_secure,
            };
            assert_eq!(set.session(&begun(name, kind)).unwrap(), line);
        }
        let set = SetCookie {
            host: "wanda.test",
            subdomains: Flat,
            is_secure: true,
        };
        assert_eq!(
            set.without_session("sess-cozyX").unwrap(),
            "sess-cozyX=; Path=/; Domain=test; Max-Age=0"
        );
        assert_eq!(
            set.csrf("T").unwrap(),
            "_csrf=T; Path=/auth; Max-Age=3600; HttpOnly; Secure; SameSite=Strict"
        );
    }

    #[test]
    fn cookies_are_read_from_all_lines() {
        let mut headers = HeaderMap::new();
        headers.append("cookie", "a=1; b=2".parse().unwrap());
        headers.append("cookie", "c=3;a=4".parse().unwrap());
        assert_eq!(read(&headers, "a"), Some("1"));
        assert_eq!(read(&headers, "c"), Some("3"));
        assert_eq!(read(&headers, "d"), None);
    }
}
