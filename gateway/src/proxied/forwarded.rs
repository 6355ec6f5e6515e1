//! `Forwarded` (RFC 7239) and the older `X-Forwarded-For`, `X-Forwarded-Proto` and `X-Forwarded-Host`.
//!
//! Each proxy adds its element at the right end. What stands further left may come from anybody, so both are read from
//! the right, and reading ends where something is malformed.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName, HeaderValue, header::FORWARDED};

use super::Scheme;
use crate::host::Host;

pub(super) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(super) const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
pub(super) const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// How many proxies one behind the other are told apart. More than any installation has.
pub(super) const MAX_HOPS: usize = 16;
/// The longest header line that is read.
const MAX_LINE: usize = 4096;

/// What one proxy says about a request that it received.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Hop {
    /// Where the request came from, unless the proxy does not tell.
    pub(super) address: Option<IpAddr>,
    /// The scheme by which it came.
    pub(super) scheme: Option<Scheme>,
    /// The host that it named.
    pub(super) host: Option<Host>,
}

/// The hops of `Forwarded`, the nearest proxy first; `None` without the header.
pub(super) fn forwarded(headers: &HeaderMap) -> Option<Vec<Hop>> {
    let lines: Vec<&HeaderValue> = headers.get_all(FORWARDED).iter().collect();
    if lines.is_empty() {
        return None;
    }
    let mut hops = Vec::new();
    for line in lines.into_iter().rev() {
        let Some(elements) = readable(line).and_then(elements) else {
            break;
        };
        hops.extend(elements.into_iter().rev());
        if hops.len() >= MAX_HOPS {
            break;
        }
    }
    hops.truncate(MAX_HOPS);
    Some(hops)
}

/// The hops of the `X-Forwarded` headers, the nearest proxy first; `None` without any of them.
pub(super) fn x_forwarded(headers: &HeaderMap) -> Option<Vec<Hop>> {
    let addresses = List::of(headers, &X_FORWARDED_FOR);
    let schemes = List::of(headers, &X_FORWARDED_PROTO);
    let hosts = List::of(headers, &X_FORWARDED_HOST);
    if addresses.0.is_empty() && schemes.0.is_empty() && hosts.0.is_empty() {
        return None;
    }
    let hop = |position| Hop {
        address: addresses.0.get(position).copied().and_then(address),
        scheme: schemes.beside(&addresses, position).and_then(Scheme::read),
        host: hosts
            .beside(&addresses, position)
            .and_then(|text| Host::parse(text).ok()),
    };
    let hops = addresses.0.len().clamp(1, MAX_HOPS);
    Some((0..hops).map(hop).collect())
}

/// The values of a list header, the last one first.
struct List<'a>(Vec<&'a str>);

impl<'a> List<'a> {
    fn of(headers: &'a HeaderMap, name: &HeaderName) -> Self {
        let lines: Vec<&HeaderValue> = headers.get_all(name).iter().collect();
        let values = lines
            .into_iter()
            .rev()
            .map_while(readable)
            .flat_map(|line| line.rsplit(',').map(str::trim));
        Self(values.collect())
    }

    /// The value that belongs to an address. Proxies that write one value for all, or not always one, leave lists of
    /// another length: then the nearest proxy's value counts.
    fn beside(&self, addresses: &Self, position: usize) -> Option<&'a str> {
        let is_parallel = self.0.len() == addresses.0.len();
        self.0.get(if is_parallel { position } else { 0 }).copied()
    }
}

fn readable(line: &HeaderValue) -> Option<&str> {
    line.to_str().ok().filter(|text| text.len() <= MAX_LINE)
}

impl Scheme {
    /// Reads a scheme. Some proxies tell the one of a WebSocket.
    fn read(text: &str) -> Option<Self> {
        let is = |scheme: &str| text.eq_ignore_ascii_case(scheme);
        if is("https") || is("wss") {
            Some(Self::Https)
        } else if is("http") || is("ws") {
            Some(Self::Http)
        } else {
            None
        }
    }
}

/// Reads an address of `X-Forwarded-For`, which nobody has specified: with and without a port, an IPv6 address with
/// and without brackets.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.parse().ok();
    bare.or_else(|| {
        text.parse()
            .ok()
            .map(|with_port: SocketAddr| with_port.ip())
    })
    .or_else(|| bracketed(text))
    .map(|address| address.to_canonical())
}

fn bracketed(text: &str) -> Option<IpAddr> {
    let inside = text.strip_prefix('[')?.strip_suffix(']')?;
    inside.parse().ok().map(IpAddr::V6)
}

/// Reads a `node` (RFC 7239, section 6). `Ok(None)` for one that is hidden, `Err` for what is none.
fn node(text: &str) -> Result<Option<IpAddr>, Malformed> {
    let (name, port) = match text.rfind(']') {
        Some(end) => text.split_at(end + 1),
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let port_is_fine = match port.strip_prefix(':') {
        Some(port) => is_port(port) || is_obfuscated(port),
        None => port.is_empty(),
    };
    if !port_is_fine {
        return Err(Malformed);
    }
    if name.eq_ignore_ascii_case("unknown") || is_obfuscated(name) {
        return Ok(None);
    }
    let v4 = || name.parse().ok().map(IpAddr::V4);
    let address = bracketed(name).or_else(v4).ok_or(Malformed)?;
    Ok(Some(address.to_canonical()))
}

fn is_port(text: &str) -> bool {
    (1..=5).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_obfuscated(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    text.strip_prefix('_')
        .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(allowed))
}

/// Something breaks the grammar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Malformed;

/// Reads the elements of a line of `Forwarded` (RFC 7239, section 4), the first one first.
fn elements(line: &str) -> Option<Vec<Hop>> {
    let mut hops = Vec::new();
    let mut rest = line.trim_start_matches(SPACES);
    while !rest.is_empty() {
        // Empty elements of a list are allowed (RFC 9110, section 5.6.1).
        if let Some(after) = rest.strip_prefix(',') {
            rest = after.trim_start_matches(SPACES);
            continue;
        }
        let (hop, after) = element(rest)?;
        hops.push(hop);
        rest = after;
    }
    Some(hops)
}

const SPACES: [char; 2] = [' ', '\t'];

/// Reads pairs up to a comma or the end. Spaces around semicolons break the grammar, but are common.
fn element(text: &str) -> Option<(Hop, &str)> {
    let mut hop = Hop::default();
    let mut names: Vec<String> = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches(SPACES);
        if !rest.starts_with([';', ',']) && !rest.is_empty() {
            let (name, after) = token(rest)?;
            let (value, after) = value(after.strip_prefix('=')?)?;
            let name = name.to_ascii_lowercase();
            match name.as_str() {
                "for" => hop.address = node(&value).ok()?,
                "proto" => hop.scheme = Scheme::read(&value),
                "host" => hop.host = Host::parse(&value).ok(),
                _ => {}
            }
            // No parameter may be there twice in an element.
            if names.contains(&name) {
                return None;
            }
            names.push(name);
            rest = after.trim_start_matches(SPACES);
        }
        match rest.strip_prefix(';') {
            Some(after) => rest = after,
            None if rest.is_empty() || rest.starts_with(',') => return Some((hop, rest)),
            None => return None,
        }
    }
}

/// Splits off a token (RFC 9110, section 5.6.2).
fn token(text: &str) -> Option<(&str, &str)> {
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    let end = text.find(|c| !is_token(c)).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

/// Splits off a token or a quoted string (RFC 9110, section 5.6.4).
fn value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        return token(text).map(|(value, rest)| (value.to_owned(), rest));
    };
    let mut value = String::new();
    let mut characters = quoted.chars();
    loop {
        match characters.next()? {
            '"' => return Some((value, characters.as_str())),
            '\\' => value.push(characters.next()?),
            other => value.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use http::HeaderMap;

    use super::{Hop, MAX_HOPS, Scheme, address, forwarded, node, x_forwarded};
    use crate::host::Host;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    /// The hops as texts: address, scheme, host.
    fn told(hops: Option<Vec<Hop>>) -> Vec<String> {
        let text = |hop: Hop| {
            let address = hop.address.map(|it| it.to_string()).unwrap_or_default();
            let scheme = hop.scheme.map(Scheme::as_str).unwrap_or_default();
            let host = hop.host.map(|it| it.authority().to_string());
            format!("{address} {scheme} {}", host.unwrap_or_default())
        };
        hops.unwrap_or_default().into_iter().map(text).collect()
    }

    #[test]
    fn elements_of_forwarded_are_read_from_the_right() {
        for (lines, hops) in [
            (vec!["for=192.0.2.43"], vec!["192.0.2.43  "]),
            (
                vec!["for=192.0.2.60;proto=http;by=203.0.113.43"],
                vec!["192.0.2.60 http "],
            ),
            (
                vec!["For=\"[2001:db8:cafe::17]:4711\";PROTO=HTTPS"],
                vec!["2001:db8:cafe::17 https "],
            ),
            (
                vec!["for=192.0.2.43, for=198.51.100.17"],
                vec!["198.51.100.17  ", "192.0.2.43  "],
            ),
            (
                vec!["for=192.0.2.43", "for=198.51.100.17;host=\"a.example:80\""],
                vec!["198.51.100.17  a.example:80", "192.0.2.43  "],
            ),
            (
                vec!["for=_hidden, for=\"_SEVKISEK:_port\", for=unknown"],
                vec!["  ", "  ", "  "],
            ),
            (
                vec![" ,, for=192.0.2.1 ; proto=http\t, ,"],
                vec!["192.0.2.1 http "],
            ),
            (vec!["for=\"192.0.2.1\\:80\""], vec!["192.0.2.1  "]),
            (vec!["for=\"[::ffff:192.0.2.1]\""], vec!["192.0.2.1  "]),
            (vec!["ext=\"a,b;c\";for=192.0.2.1;"], vec!["192.0.2.1  "]),
            (vec!["proto=gopher;host=\"a b\""], vec!["  "]),
            (vec![""], vec![]),
        ] {
            let lines: Vec<_> = lines.into_iter().map(|line| ("forwarded", line)).collect();
            assert_eq!(told(forwarded(&headers(&lines))), hops, "{lines:?}");
        }
        assert_eq!(forwarded(&HeaderMap::new()), None);
    }

    #[test]
    fn a_malformed_line_ends_the_reading() {
        let long = format!("for=192.0.2.2;a=\"{}\"", "a".repeat(5000));
        for wrong in [
            "for",
            "for=",
            "=a",
            "for =192.0.2.2",
            "for= 192.0.2.2",
            "for=192.0.2.2:80",
            "for=2001:db8::1",
            "for=[::1]",
            "for=\"2001:db8::1\"",
            "for=\"[::1\"",
            "for=\"[192.0.2.2]\"",
            "for=\"192.0.2.2:\"",
            "for=\"192.0.2.2:123456\"",
            "for=\"192.0.2.2:80:80\"",
            "for=\"192.0.2.2",
            "for=\"192.0.2.2\\",
            "for=\"192.0.2.2\"x",
            "for=192.0.2.2 for=192.0.2.3",
            "for=192.0.2.2;for=192.0.2.3",
            "for=192.0.2.2;For=192.0.2.2",
            "for=example.org",
            "for=_",
            "for=192.0.2.2;p@=1",
            long.as_str(),
        ] {
            let lines = headers(&[
                ("forwarded", "for=192.0.2.1"),
                ("forwarded", wrong),
                ("forwarded", "for=192.0.2.9"),
            ]);
            assert_eq!(told(forwarded(&lines)), ["192.0.2.9  "], "{wrong:?}");
        }
        let mut bytes = HeaderMap::new();
        bytes.insert("forwarded", b"for=\xff".as_slice().try_into().unwrap());
        assert_eq!(forwarded(&bytes), Some(vec![]));
    }

    #[test]
    fn the_older_headers_are_read_from_the_right() {
        for (lines, hops) in [
            (
                vec![("x-forwarded-for", "192.0.2.1, 198.51.100.1:80")],
                vec!["198.51.100.1  ", "192.0.2.1  "],
            ),
            (
                vec![
                    ("x-forwarded-for", "192.0.2.1"),
                    ("x-forwarded-for", "nonsense,2001:db8::1"),
                ],
                vec!["2001:db8::1  ", "  ", "192.0.2.1  "],
            ),
            // One value for all.
            (
                vec![
                    ("x-forwarded-for", "192.0.2.1, 192.0.2.2"),
                    ("x-forwarded-proto", "https"),
                    ("x-forwarded-host", "A.example:8443"),
                ],
                vec![
                    "192.0.2.2 https a.example:8443",
                    "192.0.2.1 https a.example:8443",
                ],
            ),
            // One value for each.
            (
                vec![
                    ("x-forwarded-for", "192.0.2.1, 192.0.2.2"),
                    ("x-forwarded-proto", "https, http"),
                ],
                vec!["192.0.2.2 http ", "192.0.2.1 https "],
            ),
            (vec![("x-forwarded-proto", "http, wss")], vec![" https "]),
            (vec![("x-forwarded-host", "a/b")], vec!["  "]),
        ] {
            assert_eq!(told(x_forwarded(&headers(&lines))), hops, "{lines:?}");
        }
        assert_eq!(x_forwarded(&HeaderMap::new()), None);
        let many = vec!["192.0.2.1"; 100].join(",");
        let many = x_forwarded(&headers(&[("x-forwarded-for", &many)]));
        assert_eq!(many.unwrap().len(), MAX_HOPS);
    }

    #[test]
    fn addresses_have_many_spellings() {
        for (text, read) in [
            ("192.0.2.1", "192.0.2.1"),
            ("192.0.2.1:1", "192.0.2.1"),
            ("2001:DB8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:1", "2001:db8::1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
        ] {
            assert_eq!(address(text).unwrap().to_string(), read, "{text}");
        }
        for wrong in [
            "",
            "unknown",
            "a.example",
            "192.0.2",
            "[192.0.2.1]",
            "192.0.2.1:x",
        ] {
            assert_eq!(address(wrong), None, "{wrong}");
        }
        assert_eq!(node("UNKNOWN:80"), Ok(None));
        assert!(Host::parse("[::1]").is_ok());
    }
}
