//! The hosts of an instance and its apps, as a browser sees them, and the addresses to which a login may lead.
//!
//! Hosts are compared as the browser has sent them: ASCII, with the port.

use service_kit::contexts::Subdomains;
use url::{Position, Url};

use super::scope::is_slug;

/// Why an address is not gone to after a login. The texts are those that compatible clients know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadAddress {
    /// It is none.
    #[error("bad url: could not parse")]
    Form,
    /// It is not one of the web.
    #[error("bad url: bad scheme")]
    Scheme,
    /// It is that of somebody else.
    #[error("bad url: should be subdomain")]
    Foreign,
}

/// The app whose host this is, of the instance at `instance`; `None` when it is no host of its apps.
pub(crate) fn slug_of<'a>(
    host: &'a str,
    instance: &str,
    subdomains: Subdomains,
) -> Option<&'a str> {
    let slug = match (subdomains, instance.split_once('.')) {
        (Subdomains::Flat, Some((label, rest))) => host
            .strip_suffix(rest)?
            .strip_suffix('.')?
            .strip_prefix(label)?
            .strip_prefix('-')?,
        (Subdomains::Flat | Subdomains::Nested, _) => {
            host.strip_suffix(instance)?.strip_suffix('.')?
        }
    };
    is_slug(slug).then_some(slug)
}

/// The pattern of the hosts of all apps of an instance, for policies: with flat hosts it covers neighbours, too.
pub(crate) fn pattern(instance: &str, subdomains: Subdomains) -> String {
    match (subdomains, instance.split_once('.')) {
        (Subdomains::Flat, Some((_, rest))) => format!("*.{rest}"),
        (Subdomains::Flat | Subdomains::Nested, _) => format!("*.{instance}"),
    }
}

/// The authority of an address of the web.
pub(crate) fn authority(url: &Url) -> &str {
    &url[Position::BeforeHost..Position::AfterPort]
}

/// The address to go to after a login. `given` is an address of the web, or the slug of an app with a path and a fragment.
///
/// # Errors
/// When it is not one of the instance at `instance` or of its apps.
pub(crate) fn target(
    given: &str,
    scheme: &str,
    instance: &str,
    subdomains: Subdomains,
) -> Result<String, BadAddress> {
    match Url::parse(given) {
        Ok(mut url) => {
            if !matches!(url.scheme(), "http" | "https") {
                return Err(BadAddress::Scheme);
            }
            if !url.username().is_empty() || url.password().is_some() {
                return Err(BadAddress::Form);
            }
            let host = authority(&url);
            if host == instance {
                // The fragment that a browser kept from the page before would be joined to the next one otherwise.
                url.set_fragment(Some("="));
            } else if slug_of(host, instance, subdomains).is_none() {
                return Err(BadAddress::Foreign);
            }
            Ok(url.into())
        }
        Err(_) => of_app(given, scheme, instance, subdomains).ok_or(BadAddress::Form),
    }
}

/// The address of a place in an app: `slug/path#fragment`. `None` when the text is none.
pub(crate) fn of_app(
    place: &str,
    scheme: &str,
    instance: &str,
    subdomains: Subdomains,
) -> Option<String> {
    let (before, fragment) = match place.split_once('#') {
        Some((before, fragment)) => (before, Some(fragment)),
        None => (place, None),
    };
    let (slug, path) = match before.split_once('/') {
        Some((slug, path)) => (slug, path),
        None => (before, ""),
    };
    if !is_slug(slug) {
        return None;
    }
    let host = super::name::app_domain(instance, slug, subdomains);
    let mut url = Url::parse(&format!("{scheme}://{host}/")).ok()?;
    url.set_path(path);
    url.set_fragment(fragment);
    Some(url.into())
}

#[cfg(test)]
mod tests {
    use service_kit::contexts::Subdomains::{Flat, Nested};

    use super::{BadAddress, pattern, slug_of, target};

    #[test]
    fn hosts_of_apps_are_told_from_those_of_others() {
        for (host, instance, subdomains, slug) in [
            ("drive.a.example:80", "a.example:80", Nested, Some("drive")),
            ("a-b.a.example", "a.example", Nested, Some("a-b")),
            ("x.drive.a.example", "a.example", Nested, None),
            ("a.example", "a.example", Nested, None),
            (".a.example", "a.example", Nested, None),
            ("evila.example", "a.example", Nested, None),
            ("drive.a.example", "a.example:80", Nested, None),
            ("a-drive.example", "a.example", Flat, Some("drive")),
            ("b-drive.example", "a.example", Flat, None),
            ("drive.a.example", "a.example", Flat, None),
            ("a-.example", "a.example", Flat, None),
        ] {
            assert_eq!(slug_of(host, instance, subdomains), slug, "{host}");
        }
        assert_eq!(pattern("a.example:80", Nested), "*.a.example:80");
        assert_eq!(pattern("a.example:80", Flat), "*.example:80");
    }

    #[test]
    fn a_login_leads_to_the_owners_own_hosts_only() {
        let to = |given| target(given, "http", "a.example:8080", Nested);
        for (given, address) in [
            ("home/", "http://home.a.example:8080/"),
            ("drive/#/folder", "http://drive.a.example:8080/#/folder"),
            ("drive/x/y?z=1", "http://drive.a.example:8080/x/y%3Fz=1"),
            ("drive", "http://drive.a.example:8080/"),
            (
                "http://drive.a.example:8080/?x=1#y",
                "http://drive.a.example:8080/?x=1#y",
            ),
            (
                "http://a.example:8080/settings",
                "http://a.example:8080/settings#=",
            ),
            ("http://a.example:8080/x#y", "http://a.example:8080/x#="),
        ] {
            assert_eq!(to(given).as_deref(), Ok(address), "{given}");
        }
        for (given, why) in [
            ("https://evil.test/", BadAddress::Foreign),
            ("http://a.example:8081/", BadAddress::Foreign),
            ("http://evila.example:8080/", BadAddress::Foreign),
            ("http://a.example:8080@evil.test/", BadAddress::Form),
            ("javascript:alert(1)", BadAddress::Scheme),
            ("//evil.test/", BadAddress::Form),
            ("/\\evil.test", BadAddress::Form),
            ("Drive/", BadAddress::Form),
            ("", BadAddress::Form),
            ("data:text/html,x", BadAddress::Scheme),
        ] {
            assert_eq!(to(given), Err(why), "{given}");
        }
    }
}
