//! Names of instances: the hosts under which an instance can be reached.

use std::{fmt, net::Ipv4Addr, str::FromStr};

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};
use service_kit::contexts::Subdomains;

/// A domain, an alias or a former domain, in the two forms that Hamlet uses.
///
/// Documents keep the Unicode form with its port, as the compatible data does. Claims and look-ups
/// use the ASCII host without its port: a host belongs to one instance, whatever the port.
///
/// Canonical by UTS-46 (non-transitional), STD3 rules, DNS lengths: lower case, composed, no
/// trailing dot. Two spellings of one host are one name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Name {
    domain: String,
    host: String,
}

/// Why a string is not a valid name. The message says what would be valid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// Nothing remains of it after the conversion.
    #[error("is empty; give a host name such as alice.example.org")]
    Empty,
    /// It contains a character that no host name can contain.
    #[error(
        "{0:?} is not a host name; use letters, digits and inner hyphens in labels of at most 63 \
         characters, separated by single dots, 253 characters in all"
    )]
    Host(String),
    /// Its last label is a number, and it is no IPv4 address as it is usually written.
    #[error(
        "{0:?} ends in a number, so a browser takes it for an IPv4 address; use a host name whose last label is a \
         word, or an address such as 192.0.2.1"
    )]
    Number(String),
    /// The port is invalid.
    #[error("{0:?} is not a port; use a number from 1 to 65535")]
    Port(String),
}

impl Name {
    /// The domain in the form of documents: Unicode, lower case, with its port.
    #[must_use]
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The host in the form of claims: ASCII, lower case, without its port.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port; `None` when the name has none.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        let (_, port) = self.domain.rsplit_once(':')?;
        port.parse().ok()
    }

    /// Whether this name, as somebody wrote it, means the host `own` of an instance whose main domain is `main`. The
    /// port may be left out; if it is given, it is that of `own` or of `main`.
    #[must_use]
    pub fn means(&self, own: &Self, main: &Self) -> bool {
        self.host == own.host
            && (self.port().is_none() || self.port() == own.port() || self.port() == main.port())
    }

    /// Refuses a name that an instance may have, but not get any more: its last label is a number, and it is no IPv4
    /// address as browsers show it.
    ///
    /// # Errors
    /// [`InvalidName::Number`].
    pub fn require_reachable(&self) -> Result<(), InvalidName> {
        if ends_in_number(&self.host) && !is_canonical_address(&self.host) {
            return Err(InvalidName::Number(shorten(&self.host)));
        }
        Ok(())
    }

    /// The part before the first dot of the domain.
    #[must_use]
    pub fn first_label(&self) -> &str {
        let host = self.domain.split(':').next().unwrap_or_default();
        host.split('.').next().unwrap_or_default()
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.domain)
    }
}

impl FromStr for Name {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let text = text.trim();
        // An address is a likely mistake, and not each colon in it begins a port.
        if text.contains("://") || text.starts_with('[') {
            return Err(InvalidName::Host(shorten(text)));
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) => (host, Some(parse_port(port)?)),
            None => (text, None),
        };
        let given = host;
        let host = host.strip_suffix('.').unwrap_or(host);
        if host.is_empty() {
            return Err(InvalidName::Empty);
        }
        let invalid = || InvalidName::Host(shorten(given));
        let ascii = Uts46::new()
            .to_ascii(
                host.as_bytes(),
                AsciiDenyList::STD3,
                Hyphens::CheckFirstLast,
                DnsLength::Verify,
            )
            .map_err(|_| invalid())?;
        if ascii.ends_with('.') {
            return Err(invalid());
        }
        let (unicode, valid) = Uts46::new().to_unicode(
            ascii.as_bytes(),
            AsciiDenyList::STD3,
            Hyphens::CheckFirstLast,
        );
        valid.map_err(|_| invalid())?;
        let domain = match port {
            Some(port) => format!("{unicode}:{port}"),
            None => unicode.into_owned(),
        };
        Ok(Self {
            domain,
            host: ascii.into_owned(),
        })
    }
}

/// Whether a browser reads a host as an IPv4 address: its last label is a number, decimal or hexadecimal. The source
/// is "ends in a number" of the URL Standard (<https://url.spec.whatwg.org/#ends-in-a-number-checker>).
fn ends_in_number(host: &str) -> bool {
    let last = host.rsplit('.').next().unwrap_or_default();
    let is_decimal = !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit());
    is_decimal
        || last
            .strip_prefix("0x")
            .is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// Whether a host is an IPv4 address in the form in which browsers show it.
fn is_canonical_address(host: &str) -> bool {
    host.parse::<Ipv4Addr>()
        .is_ok_and(|address| address.to_string() == host)
}

fn parse_port(text: &str) -> Result<u16, InvalidName> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(port) if digits && port != 0 => Ok(port),
        _ => Err(InvalidName::Port(shorten(text))),
    }
}

/// Shortens a name or another word for messages: input from callers can be of any length.
pub(super) fn shorten(text: &str) -> String {
    const MOST: usize = 80;
    if text.chars().count() <= MOST {
        return text.to_owned();
    }
    text.chars().take(MOST).chain(['…']).collect()
}

/// How a host names an app of an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppHost {
    /// The host of the instance.
    pub instance: String,
    /// The app's slug.
    pub slug: String,
    /// The naming scheme. The match counts only if the context of the instance uses it.
    pub subdomains: Subdomains,
}

/// How `host` can name an app: in the nested scheme, in the flat one, or in both.
#[must_use]
pub fn app_hosts(host: &str) -> Vec<AppHost> {
    let mut found = Vec::new();
    let Some((label, rest)) = host.split_once('.') else {
        return found;
    };
    if !rest.is_empty() && is_slug(label) {
        found.push(AppHost {
            instance: rest.to_owned(),
            slug: label.to_owned(),
            subdomains: Subdomains::Nested,
        });
    }
    if let Some((name, slug)) = label.split_once('-')
        && !name.is_empty()
        && is_slug(slug)
    {
        found.push(AppHost {
            instance: format!("{name}.{rest}"),
            slug: slug.to_owned(),
            subdomains: Subdomains::Flat,
        });
    }
    found
}

/// The domain of an app of an instance, with the port of the instance.
#[must_use]
pub fn app_domain(domain: &str, slug: &str, subdomains: Subdomains) -> String {
    match (subdomains, domain.split_once('.')) {
        (Subdomains::Flat, Some((label, rest))) => format!("{label}-{slug}.{rest}"),
        (Subdomains::Flat | Subdomains::Nested, _) => format!("{slug}.{domain}"),
    }
}

fn is_slug(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use proptest::prelude::*;

    use super::{AppHost, InvalidName, Name, Subdomains, app_hosts};

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    #[test]
    fn all_spellings_of_a_host_are_one_name() {
        for spelling in [
            "Élodie.Example.org",
            "xn--lodie-9ra.example.org",
            "XN--LODIE-9RA.example.org",
            "e\u{301}lodie.example.org",
            " élodie.example.org. ",
        ] {
            assert_eq!(name(spelling).domain(), "élodie.example.org", "{spelling}");
            assert_eq!(name(spelling).host(), "xn--lodie-9ra.example.org");
        }
    }

    #[test]
    fn the_port_is_kept_in_documents_and_not_in_claims() {
        let alice = name("Alice.localhost:8080");
        assert_eq!(alice.domain(), "alice.localhost:8080");
        assert_eq!(alice.host(), "alice.localhost");
        assert_eq!(alice.first_label(), "alice");
    }

    #[test]
    fn a_host_may_be_named_with_its_port_or_without_one() {
        let (main, alias) = (name("bücher.localhost:8080"), name("www.example.org"));
        for right in [
            "bücher.localhost:8080",
            "BÜCHER.localhost",
            "xn--bcher-kva.localhost.:8080",
        ] {
            assert!(name(right).means(&main, &main), "{right}");
        }
        for right in ["www.example.org", "WWW.example.org:8080"] {
            assert!(name(right).means(&alias, &main), "{right}");
        }
        for wrong in ["bücher.localhost:8081", "other.localhost:8080"] {
            assert!(!name(wrong).means(&main, &main), "{wrong}");
        }
        assert!(!name("www.example.org:443").means(&alias, &main));
    }

    #[test]
    fn an_invalid_host_is_refused() {
        for wrong in [
            "",
            ".",
            "..",
            " ",
            "foo/bar",
            "foo..bar",
            ".foo",
            "a b.c",
            "me@x.y",
            "*.foo",
            "<x>.y",
            "a\\b.c",
            "foo_bar.baz",
            "-foo.bar",
            "foo-.bar",
            "foo:bar:baz.x",
            "xn--0.x",
            "xn--.com",
            "a\nb",
            "a\0b",
            "alice.localhost..",
            "alice.localhost...",
            "alice.localhost..:8080",
        ] {
            assert!(wrong.parse::<Name>().is_err(), "{wrong:?}");
        }
        assert_eq!(
            "x..".parse::<Name>(),
            Err(InvalidName::Host("x..".to_owned())),
            "what was given is quoted"
        );
        let label = "a".repeat(64);
        assert!(format!("{label}.org").parse::<Name>().is_err());
        let long = format!("{}org", "abcdefg.".repeat(32));
        assert!(long.parse::<Name>().is_err());
        for address in ["https://a.org", "[::1]", "[2001:db8::1]:8080"] {
            assert_eq!(
                address.parse::<Name>(),
                Err(InvalidName::Host(address.to_owned()))
            );
        }
        for port in ["a:", "a:0", "a:65536", "a:+1", "a:x"] {
            assert!(
                matches!(port.parse::<Name>(), Err(InvalidName::Port(_))),
                "{port}"
            );
        }
    }

    #[test]
    fn a_host_that_browsers_read_as_another_address_is_refused() {
        for number in [
            "256.256.256.256",
            "1.2.3",
            "123",
            "0x7f.1",
            "foo.123",
            "foo.0x7F",
            "foo.0x",
            "01.2.3.4",
            "1.2.3.4.5",
            "foo.１２３",
            "123:8080",
            "foo.123.",
        ] {
            let name: Name = number.parse().unwrap();
            assert!(
                matches!(name.require_reachable(), Err(InvalidName::Number(_))),
                "{number}"
            );
        }
        for word in [
            "192.0.2.1",
            "127.0.0.1:8080",
            "123.example",
            "foo.1a",
            "foo.0xg",
        ] {
            let name: Name = word.parse().unwrap();
            assert_eq!(name.require_reachable(), Ok(()), "{word}");
        }
    }

    #[test]
    fn a_host_may_name_an_app_nested_or_flat() {
        let app = |instance: &str, slug: &str, subdomains| AppHost {
            instance: instance.to_owned(),
            slug: slug.to_owned(),
            subdomains,
        };
        assert_eq!(
            app_hosts("drive.alice.example"),
            [app("alice.example", "drive", Subdomains::Nested)]
        );
        assert_eq!(
            app_hosts("alice-drive.example"),
            [
                app("example", "alice-drive", Subdomains::Nested),
                app("alice.example", "drive", Subdomains::Flat),
            ]
        );
        assert!(app_hosts("localhost").is_empty());
    }

    proptest! {
        /// Every accepted name is canonical: parsing it again yields the same name.
        #[test]
        fn canonical_names_are_fixed_points(text in "\\PC{0,40}") {
            if let Ok(parsed) = text.parse::<Name>() {
                prop_assert_eq!(&name(parsed.domain()), &parsed);
                let from_host = name(parsed.host());
                prop_assert_eq!(from_host.host(), parsed.host());
                prop_assert!(parsed.host().is_ascii());
                prop_assert!(!parsed.host().contains(':'));
            }
        }
    }
}
