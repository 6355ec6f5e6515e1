//! What fuzzers call: each function reads any bytes and panics when a property does not hold. `gateway/fuzz` has a
//! target for each.

#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "a failed expectation is what a fuzzer looks for"
)]

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use http::{HeaderMap, HeaderName, HeaderValue, Request, header::HOST};

use crate::{
    forward::deadline,
    host::Host,
    proxied::{
        Client, Peer, Scheme, TrustedProxies,
        protocol::{Parsed, parse},
    },
};

/// A host: its normal form is stable, and every place in a request means the same one.
pub fn host(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let host = Host::parse(text).ok();
    if let Some(host) = &host {
        let again = Host::parse(host.authority().as_str()).expect("the normal form is a host");
        assert_eq!(&again, host);
        let allowed = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_[]:".contains(&byte)
        };
        let name = host.name();
        assert!((1..=253).contains(&name.len()) && name.bytes().all(allowed));
        let default = Host::parse("alice.example").expect("a host");
        let meant = host.or_default(Some(&default));
        assert_eq!(meant == &default, host.ip().is_some() || host == &default);
    }
    if let Ok(value) = HeaderValue::from_bytes(bytes) {
        let request = Request::get("/").header(HOST, value).body(());
        let read = request.ok().and_then(|request| Host::of(&request).ok());
        assert_eq!(read, host);
    }
    let request = Request::get(format!("http://{text}/")).body(());
    if let Ok(request) = request
        && request
            .uri()
            .authority()
            .is_some_and(|it| it.as_str() == text)
    {
        assert_eq!(Host::of(&request).ok(), host);
    }
}

/// Header lines, each behind one byte that chooses its name: the client is found out, what is told of it is read as
/// said, and nobody who is not trusted is believed.
pub fn forwarded(bytes: &[u8]) {
    const NAMES: [&str; 4] = [
        "forwarded",
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-forwarded-host",
    ];
    let mut headers = HeaderMap::new();
    for line in bytes.split(|byte| *byte == b'\n') {
        if let Some((choice, value)) = line.split_first()
            && let Ok(value) = HeaderValue::from_bytes(value)
            && let Some(name) = NAMES.get(usize::from(*choice) % NAMES.len())
        {
            headers.append(HeaderName::from_static(name), value);
        }
    }
    let host = Host::parse("alice.example").expect("a host");
    let peer = |last| Peer {
        address: IpAddr::V4(Ipv4Addr::new(10, 0, 0, last)),
        scheme: Scheme::Http,
    };
    let trusted = TrustedProxies::new(&["10.0.0.0/30".parse().expect("a network")]);
    let client = Client::of(peer(1), &headers, &trusted);
    let mut told = headers.clone();
    client.lines(&host).write(&mut told);
    // A service that trusts the gateway (10.0.0.2) and the same proxies finds out the same, unless more of them stand
    // in a row than are told apart.
    let behind = Client::of(peer(2), &told, &trusted);
    let way = told.get("x-forwarded-for").expect("it is told");
    if way.as_bytes().split(|byte| *byte == b',').count() <= 16 {
        assert_eq!(
            (behind.address, behind.scheme),
            (client.address, client.scheme)
        );
        assert_eq!(behind.host, client.host.or(Some(host)));
    }

    let stranger = Client::of(peer(9), &headers, &trusted);
    assert_eq!(stranger, Client::of(peer(9), &HeaderMap::new(), &trusted));
}

/// The first bytes of a connection: no beginning contradicts the whole.
pub fn proxy_protocol(bytes: &[u8]) {
    let whole = parse(bytes);
    if let Parsed::Header { length, .. } = whole {
        assert!(length <= bytes.len());
        assert_eq!(parse(bytes.get(..length).expect("it is no longer")), whole);
    }
    for end in 0..bytes.len().min(300) {
        let part = parse(bytes.get(..end).expect("it is within"));
        match part {
            Parsed::NeedMore { at_least } => match whole {
                Parsed::Header { length, .. } => assert!(at_least > 0 && end + at_least <= length),
                _ => assert!(at_least > 0),
            },
            decided => assert_eq!(decided, whole),
        }
    }
}

/// Lines of `grpc-timeout`, separated by line breaks: what is read is what the digits and the unit say, the gateway's cap
/// bounds it, and the service is told a time that is a little longer.
pub fn grpc_timeout(bytes: &[u8]) {
    const CAP: Duration = Duration::from_secs(24 * 3600);
    const SLACK: Duration = Duration::from_millis(251);
    let mut headers = HeaderMap::new();
    for line in bytes.split(|byte| *byte == b'\n') {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append(deadline::TIMEOUT_HEADER, value);
        }
    }
    let texts: Vec<_> = headers.get_all(deadline::TIMEOUT_HEADER).iter().collect();
    let said = match texts.as_slice() {
        [] => Some(CAP),
        [text] => text.to_str().ok().and_then(timeout),
        _ => None,
    };
    if let [text] = texts.as_slice()
        && let Ok(text) = text.to_str()
    {
        let parsed = service_kit::deadline::parse(text).ok();
        assert_eq!(parsed.filter(|time| !time.is_zero()), said);
    }
    for cap in [Duration::from_millis(1), Duration::from_secs(600), CAP] {
        let allowed = deadline::of(&headers, cap).ok();
        assert_eq!(allowed, said.map(|time| time.min(cap)));
        let Some(allowed) = allowed else { continue };
        let told = deadline::header(allowed);
        let told = timeout(told.to_str().expect("it is a text")).expect("it is a timeout");
        assert!(told >= allowed && told <= allowed + SLACK);
    }
}

/// A timeout as the grammar of gRPC over HTTP/2 has it, read in another way than the code does.
fn timeout(text: &str) -> Option<Duration> {
    let (unit, digits) = text.as_bytes().split_last()?;
    if digits.is_empty() || digits.len() > 8 {
        return None;
    }
    let nanos = match unit {
        b'H' => 3_600_000_000_000,
        b'M' => 60_000_000_000,
        b'S' => 1_000_000_000,
        b'm' => 1_000_000,
        b'u' => 1_000,
        b'n' => 1_u128,
        _ => return None,
    };
    let mut number = 0;
    for digit in digits {
        number = number * 10 + u128::from(digit.checked_sub(b'0').filter(|it| *it < 10)?);
    }
    let seconds = u64::try_from(number * nanos / 1_000_000_000).ok()?;
    let rest = u32::try_from(number * nanos % 1_000_000_000).ok()?;
    Some(Duration::new(seconds, rest)).filter(|time| !time.is_zero())
}
