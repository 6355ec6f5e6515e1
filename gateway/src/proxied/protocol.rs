//! The PROXY protocol: what a proxy that forwards whole TCP connections writes before them, in its versions 1 and 2
//! (<https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt>).

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// What a header of version 1 begins with.
const V1: &[u8] = b"PROXY ";
/// The shortest header of version 1, `PROXY UNKNOWN` and its line end.
const V1_SHORTEST: usize = 15;
/// The longest header of version 1, its line end included (section 2.1).
const V1_LONGEST: usize = 107;
/// What a header of version 2 begins with (section 2.2).
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// The part of a header of version 2 that has always the same length.
const V2_FIXED: usize = 16;
/// The longest remainder of a header of version 2 that is read: addresses, and a certificate chain's names in TLVs.
const V2_LONGEST_REST: usize = 4096;

/// What the first bytes of a connection are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parsed {
    /// The beginning of a header, of which at least so many bytes are still to come.
    NeedMore { at_least: usize },
    /// Something else.
    NoHeader,
    /// A whole header of `length` bytes. Without a source, the connection is the proxy's own, or it is of a kind that
    /// has no address.
    Header {
        source: Option<SocketAddr>,
        length: usize,
    },
    /// A header that breaks the rules.
    Malformed,
}

/// Why a connection has no usable header.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HeaderError {
    #[error("it does not begin with a header of the PROXY protocol")]
    Missing,
    #[error("its header of the PROXY protocol is malformed")]
    Malformed,
    #[error("its header of the PROXY protocol did not arrive whole: {0}")]
    Io(#[from] io::Error),
}

/// Reads the header that has to begin a connection, and no byte more. Returns the source, if the header has one. The
/// caller sets the time limit.
pub(crate) async fn read_header<S: AsyncRead + Unpin>(
    stream: &mut S,
) -> Result<Option<SocketAddr>, HeaderError> {
    let mut seen = Vec::with_capacity(V1_LONGEST);
    loop {
        match parse(&seen) {
            Parsed::NeedMore { at_least } => {
                let more = u64::try_from(at_least).map_err(|_| HeaderError::Malformed)?;
                if stream.take(more).read_to_end(&mut seen).await? < at_least {
                    return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
                }
            }
            Parsed::NoHeader => return Err(HeaderError::Missing),
            Parsed::Header { source, .. } => return Ok(source),
            Parsed::Malformed => return Err(HeaderError::Malformed),
        }
    }
}

/// Reads the first bytes of a connection.
pub(crate) fn parse(bytes: &[u8]) -> Parsed {
    let begins = |signature: &[u8]| bytes.starts_with(signature) || signature.starts_with(bytes);
    if begins(V1) {
        v1(bytes)
    } else if begins(V2) {
        v2(bytes)
    } else {
        Parsed::NoHeader
    }
}

fn v1(bytes: &[u8]) -> Parsed {
    let most = bytes.get(..V1_LONGEST).unwrap_or(bytes);
    let Some(end) = most.iter().position(|byte| *byte == b'\n') else {
        return if most.len() == V1_LONGEST {
            Parsed::Malformed
        } else {
            let at_least = V1_SHORTEST.saturating_sub(bytes.len()).max(1);
            Parsed::NeedMore { at_least }
        };
    };
    let line = most
        .get(..end)
        .and_then(|line| line.strip_suffix(b"\r"))
        .and_then(|line| line.strip_prefix(V1))
        .and_then(|line| std::str::from_utf8(line).ok());
    let source = match line {
        // Whatever follows the word is to be ignored.
        Some("UNKNOWN") => Some(None),
        Some(line) if line.starts_with("UNKNOWN ") => Some(None),
        Some(line) => v1_source(line).map(Some),
        None => None,
    };
    match source {
        Some(source) => Parsed::Header {
            source,
            length: end + 1,
        },
        None => Parsed::Malformed,
    }
}

/// Reads family, both addresses and both ports.
fn v1_source(line: &str) -> Option<SocketAddr> {
    let fields: Vec<&str> = line.split(' ').collect();
    let [family, source, destination, source_port, destination_port] = *fields.as_slice() else {
        return None;
    };
    let address = |text: &str| match family {
        "TCP4" => text.parse().ok().map(IpAddr::V4),
        "TCP6" => text.parse().ok().map(IpAddr::V6),
        _ => None,
    };
    address(destination)?;
    v1_port(destination_port)?;
    Some(SocketAddr::new(address(source)?, v1_port(source_port)?))
}

/// A decimal number without a sign and without leading zeros (section 2.1).
fn v1_port(text: &str) -> Option<u16> {
    let port: u16 = text.parse().ok()?;
    (port.to_string() == text).then_some(port)
}

fn v2(bytes: &[u8]) -> Parsed {
    let Some((fixed, rest)) = bytes.split_first_chunk::<V2_FIXED>() else {
        let at_least = V2_FIXED.saturating_sub(bytes.len());
        return Parsed::NeedMore { at_least };
    };
    let [.., command, kind, high, low] = *fixed;
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > V2_LONGEST_REST || command >> 4 != 2 {
        return Parsed::Malformed;
    }
    let Some(rest) = rest.get(..length) else {
        let at_least = length.saturating_sub(rest.len());
        return Parsed::NeedMore { at_least };
    };
    let source = match command & 0xf {
        // LOCAL: a connection of the proxy itself, such as a health check. Its addresses are to be ignored.
        0 => Some(None),
        1 => v2_source(kind, rest),
        _ => None,
    };
    match source {
        Some(source) => Parsed::Header {
            source,
            length: V2_FIXED + length,
        },
        None => Parsed::Malformed,
    }
}

/// The source address by family and transport, `Some(None)` for those that no door serves. What follows the addresses
/// are TLVs.
fn v2_source(kind: u8, rest: &[u8]) -> Option<Option<SocketAddr>> {
    match (kind >> 4, kind & 0xf) {
        // TCP over IPv4: two addresses, then two ports.
        (1, 1) => {
            let ([a, b, c, d, _, _, _, _, high, low, _, _], _) = rest.split_first_chunk::<12>()?;
            let address = Ipv4Addr::new(*a, *b, *c, *d);
            let port = u16::from_be_bytes([*high, *low]);
            Some(Some(SocketAddr::new(address.into(), port)))
        }
        // TCP over IPv6, likewise.
        (2, 1) => {
            let (addresses, rest) = rest.split_first_chunk::<32>()?;
            let (source, _) = addresses.split_first_chunk::<16>()?;
            let ([high, low, _, _], _) = rest.split_first_chunk::<4>()?;
            let port = u16::from_be_bytes([*high, *low]);
            Some(Some(SocketAddr::new(Ipv6Addr::from(*source).into(), port)))
        }
        (0..=3, 0..=2) => Some(None),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        reason = "a failed expectation is the test failing"
    )]

    use proptest::prelude::*;

    use super::{HeaderError, Parsed, V1_LONGEST, V2, V2_LONGEST_REST, parse, read_header};

    fn header(source: Option<&str>, length: usize) -> Parsed {
        Parsed::Header {
            source: source.map(|source| source.parse().unwrap()),
            length,
        }
    }

    fn v2(command: u8, kind: u8, length: u16, rest: &[u8]) -> Vec<u8> {
        let mut bytes = V2.to_vec();
        bytes.extend([command, kind]);
        bytes.extend(length.to_be_bytes());
        bytes.extend(rest);
        bytes
    }

    #[test]
    fn version_1_is_read() {
        let longest = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
        for (text, source) in [
            (
                "PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n".to_owned(),
                Some("192.0.2.1:56324"),
            ),
            (
                "PROXY TCP6 2001:db8::1 2001:db8::2 0 65535\r\n".to_owned(),
                Some("[2001:db8::1]:0"),
            ),
            ("PROXY UNKNOWN\r\n".to_owned(), None),
            (
                format!("PROXY UNKNOWN {longest} {longest} 65535 65535\r\n"),
                None,
            ),
        ] {
            assert_eq!(
                parse(text.as_bytes()),
                header(source, text.len()),
                "{text:?}"
            );
            let followed = format!("{text}GET / HTTP/1.1\r\n");
            assert_eq!(
                parse(followed.as_bytes()),
                header(source, text.len()),
                "{text:?}"
            );
        }
    }

    #[test]
    fn malformed_headers_of_version_1_are_told() {
        for wrong in [
            "PROXY \r\n",
            "PROXY UNKNOWNS\r\n",
            "PROXY TCP4\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1 56324\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1 56324 443 \r\n",
            "PROXY TCP4  192.0.2.1 198.51.100.1 56324 443\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1 056324 443\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1 +5 443\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1 65536 443\r\n",
            "PROXY TCP4 192.0.2.01 198.51.100.1 1 443\r\n",
            "PROXY TCP4 ::1 ::1 1 443\r\n",
            "PROXY TCP6 192.0.2.1 198.51.100.1 1 443\r\n",
            "PROXY TCP6 [::1] [::1] 1 443\r\n",
            "PROXY TCP6 fe80::1%eth0 ::1 1 443\r\n",
            "PROXY UDP4 192.0.2.1 198.51.100.1 1 443\r\n",
            "PROXY TCP4 localhost 198.51.100.1 1 443\r\n",
        ] {
            assert_eq!(parse(wrong.as_bytes()), Parsed::Malformed, "{wrong:?}");
        }
        let endless = format!("PROXY UNKNOWN {}", "a".repeat(V1_LONGEST));
        assert_eq!(parse(endless.as_bytes()), Parsed::Malformed);
        let filled = format!("PROXY UNKNOWN {}\r\n", "a".repeat(V1_LONGEST - 16));
        assert_eq!(parse(filled.as_bytes()), header(None, V1_LONGEST));
    }

    #[test]
    fn version_2_is_read() {
        let v4 = [192, 0, 2, 1, 198, 51, 100, 1, 0xdc, 4, 1, 187];
        let v6: Vec<u8> = [0x20, 1, 0xd, 0xb8]
            .into_iter()
            .chain([0; 11])
            .chain([1])
            .chain([0; 16])
            .chain([0x10, 0, 1, 187])
            .collect();
        let mut with_tlvs = v4.to_vec();
        with_tlvs.extend([4, 0, 1, 0]);
        for (bytes, source) in [
            (v2(0x21, 0x11, 12, &v4), Some("192.0.2.1:56324")),
            (v2(0x21, 0x11, 16, &with_tlvs), Some("192.0.2.1:56324")),
            (v2(0x21, 0x21, 36, &v6), Some("[2001:db8::1]:4096")),
            (v2(0x21, 0x12, 12, &v4), None),
            (v2(0x21, 0x00, 0, &[]), None),
            (v2(0x21, 0x31, 216, &[0; 216]), None),
            (v2(0x20, 0x11, 12, &v4), None),
            (v2(0x20, 0xff, 0, &[]), None),
        ] {
            assert_eq!(parse(&bytes), header(source, bytes.len()), "{bytes:?}");
        }
    }

    #[test]
    fn malformed_headers_of_version_2_are_told() {
        for wrong in [
            v2(0x11, 0x11, 12, &[0; 12]),
            v2(0x22, 0x11, 12, &[0; 12]),
            v2(0x21, 0x41, 12, &[0; 12]),
            v2(0x21, 0x13, 12, &[0; 12]),
            v2(0x21, 0x11, 11, &[0; 11]),
            v2(0x21, 0x21, 35, &[0; 35]),
            v2(0x21, 0x11, u16::MAX, &[]),
        ] {
            assert_eq!(parse(&wrong), Parsed::Malformed, "{wrong:?}");
        }
        let most = u16::try_from(V2_LONGEST_REST).unwrap();
        let longest = v2(0x20, 0, most, &vec![0; V2_LONGEST_REST]);
        assert_eq!(parse(&longest), header(None, longest.len()));
        assert_eq!(parse(&v2(0x20, 0, most + 1, &[])), Parsed::Malformed);
    }

    #[test]
    fn other_connections_have_no_header() {
        for other in [
            "GET / HTTP/1.1\r\n",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            "PROPFIND / HTTP/1.1\r\n",
            "proxy UNKNOWN\r\n",
            "\r\nPROXY UNKNOWN\r\n",
            "\u{16}\u{3}\u{1}",
        ] {
            assert_eq!(parse(other.as_bytes()), Parsed::NoHeader, "{other:?}");
        }
    }

    #[tokio::test]
    async fn no_byte_behind_the_header_is_taken() {
        let v4 = [192, 0, 2, 1, 198, 51, 100, 1, 0xdc, 4, 1, 187];
        for header in [
            b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n".to_vec(),
            v2(0x21, 0x11, 12, &v4),
        ] {
            let mut bytes = header.clone();
            bytes.extend(b"GET");
            let mut stream = bytes.as_slice();
            let source = read_header(&mut stream).await.unwrap().unwrap();
            assert_eq!(source.to_string(), "192.0.2.1:56324");
            assert_eq!(stream, b"GET");
            let mut half = &header[..header.len() - 1];
            let ended = read_header(&mut half).await;
            assert!(matches!(ended, Err(HeaderError::Io(_))), "{ended:?}");
        }
        let missing = read_header(&mut b"GET / HTTP/1.1\r\n".as_slice()).await;
        assert!(matches!(missing, Err(HeaderError::Missing)), "{missing:?}");
        let malformed = read_header(&mut b"PROXY TCP4 nowhere\r\n".as_slice()).await;
        assert!(
            matches!(malformed, Err(HeaderError::Malformed)),
            "{malformed:?}"
        );
    }

    proptest! {
        #[test]
        fn any_beginning_is_read(bytes in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..64),
            "PROXY [A-Z0-9 .:\r]{0,120}(\r\n)?".prop_map(String::into_bytes),
            (any::<u8>(), any::<u8>(), 0..300_u16, proptest::collection::vec(any::<u8>(), 0..300))
                .prop_map(|(command, kind, length, rest)| v2(command, kind, length, &rest)),
        ]) {
            crate::fuzzing::proxy_protocol(&bytes);
        }
    }
}
