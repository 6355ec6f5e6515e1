//! Protection against cross-site requests: another site must not set a passphrase.

use http::{HeaderMap, HeaderName, header::ORIGIN, uri::Authority};

/// The Fetch Metadata header for the origin of a request.
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Whether the request comes from a page of `host` (with or without its port), or not from a browser at all: other programs
/// send neither header, and no site can make a browser omit both.
#[must_use]
pub fn is_own(headers: &HeaderMap, host: &str) -> bool {
    // Set by the browser itself, with scheme and port taken into account.
    if let Some(site) = headers.get(SEC_FETCH_SITE) {
        return site == "same-origin" || site == "none";
    }
    let mut origins = headers.get_all(ORIGIN).iter();
    match (origins.next(), origins.next()) {
        (None, _) => true,
        (Some(origin), None) => origin.to_str().is_ok_and(|origin| names(origin, host)),
        (Some(_), Some(_)) => false,
    }
}

/// Whether an origin is that of the host. Only the name is compared: a TLS proxy in front of the gateway may
/// have changed scheme and port.
fn names(origin: &str, host: &str) -> bool {
    let name = |text: &str| {
        let authority: Authority = text.parse().ok()?;
        Some(authority.host().to_ascii_lowercase())
    };
    let origin = origin
        .strip_prefix("https://")
        .or_else(|| origin.strip_prefix("http://"))
        .and_then(name);
    origin.is_some() && origin == name(host)
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use http::HeaderMap;

    use super::is_own;

    #[test]
    fn only_our_own_pages_may_send_it() {
        let host = "alice.example:8080";
        for (site, origin, own) in [
            ("", "", true),
            ("same-origin", "", true),
            ("none", "", true),
            ("same-origin", "https://alice.example", true),
            ("same-site", "", false),
            ("cross-site", "", false),
            ("cross-site", "https://alice.example", false),
            ("SAME-ORIGIN", "", false),
            ("", "https://alice.example", true),
            ("", "http://ALICE.example:8080", true),
            ("", "https://evil.example", false),
            ("", "https://alice.example.evil.example", false),
            ("", "https://drive.alice.example", false),
            ("", "null", false),
            ("", "ftp://alice.example", false),
            ("", "https://alice.example/path", false),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in [("sec-fetch-site", site), ("origin", origin)] {
                if !value.is_empty() {
                    headers.insert(name, value.parse().unwrap());
                }
            }
            assert_eq!(is_own(&headers, host), own, "{site:?} {origin:?}");
        }
        let mut two = HeaderMap::new();
        for origin in ["https://alice.example", "https://alice.example"] {
            two.append("origin", origin.parse().unwrap());
        }
        assert!(!is_own(&two, host));
    }
}
