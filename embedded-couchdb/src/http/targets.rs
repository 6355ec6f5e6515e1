//! Targets of requests as CouchDB takes them: some clients send characters such as `"` and `<` as they are, which a URI
//! may not hold (RFC 3986, section 2). They are percent-encoded before the request is parsed.
//!
//! To know where the next request begins, the framing of bodies is followed (RFC 9112, section 6). What is framed in a
//! way that is not known passes unchanged from there on.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The longest line of a head that is looked at, in bytes. The parser refuses such heads later.
const MAX_LINE: usize = 64 * 1024;

/// How much is read at once, in bytes.
const READ_AT_ONCE: usize = 16 * 1024;

/// What the next byte belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Method,
    Target,
    /// The rest of the first line.
    Version,
    Headers,
    /// A body with so many bytes left.
    Body(u64),
    ChunkSize,
    /// A chunk with so many bytes left.
    Chunk(u64),
    /// The end of the line after a chunk.
    ChunkEnd,
    Trailers,
    /// What is not understood.
    Unknown,
}

/// Encodes the targets in the bytes of a connection.
#[derive(Debug)]
struct Targets {
    place: Place,
    /// The line so far, where lines matter.
    line: Vec<u8>,
    length: Option<u64>,
    is_chunked: bool,
}

impl Targets {
    const fn new() -> Self {
        Self {
            place: Place::Method,
            line: Vec::new(),
            length: None,
            is_chunked: false,
        }
    }

    /// Appends `bytes` to `out`, with targets encoded.
    fn pass(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) {
        while let Some((&first, rest)) = bytes.split_first() {
            match self.place {
                Place::Body(left) | Place::Chunk(left) => {
                    let length = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                    let (now, later) = bytes.split_at(length);
                    out.extend_from_slice(now);
                    bytes = later;
                    let left = left.saturating_sub(now.len() as u64);
                    self.place = match (self.place, left) {
                        (Place::Chunk(_), 0) => Place::ChunkEnd,
                        (Place::Chunk(_), left) => Place::Chunk(left),
                        (_, 0) => Place::Method,
                        (_, left) => Place::Body(left),
                    };
                    continue;
                }
                Place::Unknown => {
                    out.extend_from_slice(bytes);
                    return;
                }
                Place::Method => {
                    // Lines without anything may precede a request.
                    if first == b' ' {
                        self.place = Place::Target;
                    }
                    out.push(first);
                }
                Place::Target => match first {
                    b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' => {
                        out.extend_from_slice(format!("%{first:02X}").as_bytes());
                    }
                    b'\n' => {
                        self.begin_headers();
                        out.push(first);
                    }
                    _ => {
                        if first == b' ' {
                            self.place = Place::Version;
                        }
                        out.push(first);
                    }
                },
                Place::Version => {
                    if first == b'\n' {
                        self.begin_headers();
                    }
                    out.push(first);
                }
                Place::Headers | Place::ChunkSize | Place::ChunkEnd | Place::Trailers => {
                    out.push(first);
                    self.line.push(first);
                    if first == b'\n' {
                        let line = std::mem::take(&mut self.line);
                        self.place = self.after(line.trim_ascii_end(), line.first() == Some(&b' '));
                    } else if self.line.len() > MAX_LINE {
                        self.place = Place::Unknown;
                    }
                }
            }
            bytes = rest;
        }
    }

    fn begin_headers(&mut self) {
        self.place = Place::Headers;
        self.length = None;
        self.is_chunked = false;
    }

    /// What follows a line.
    fn after(&mut self, line: &[u8], is_folded: bool) -> Place {
        match self.place {
            Place::Headers if line.is_empty() => match (self.is_chunked, self.length) {
                (true, _) => Place::ChunkSize,
                (false, Some(length)) if length > 0 => Place::Body(length),
                (false, _) => Place::Method,
            },
            Place::Headers if is_folded => Place::Unknown,
            Place::Headers => self.after_header(line),
            Place::ChunkSize => {
                let size = line.split(|byte| *byte == b';').next().unwrap_or_default();
                let size = std::str::from_utf8(size).unwrap_or_default().trim();
                match u64::from_str_radix(size, 16) {
                    Ok(0) => Place::Trailers,
                    Ok(size) => Place::Chunk(size),
                    Err(_) => Place::Unknown,
                }
            }
            Place::ChunkEnd if line.is_empty() => Place::ChunkSize,
            Place::ChunkEnd => Place::Unknown,
            Place::Trailers if line.is_empty() => Place::Method,
            place => place,
        }
    }

    fn after_header(&mut self, line: &[u8]) -> Place {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            return Place::Unknown;
        };
        let (name, value) = line.split_at(colon);
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        if name.eq_ignore_ascii_case(b"content-length") {
            let length = std::str::from_utf8(value).ok();
            let length = length.and_then(|length| length.parse().ok());
            if length.is_none() || self.length.is_some_and(|before| Some(before) != length) {
                return Place::Unknown;
            }
            self.length = length;
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if !value.eq_ignore_ascii_case(b"chunked") {
                return Place::Unknown;
            }
            self.is_chunked = true;
        } else if name.eq_ignore_ascii_case(b"upgrade") {
            return Place::Unknown;
        }
        Place::Headers
    }
}

/// A connection whose requests have targets that can be parsed.
pub(super) struct LenientTargets<S> {
    stream: S,
    targets: Targets,
    /// What was read and is not taken yet, from `taken` on.
    ready: Vec<u8>,
    taken: usize,
}

impl<S> LenientTargets<S> {
    pub(super) const fn new(stream: S) -> Self {
        Self {
            stream,
            targets: Targets::new(),
            ready: Vec::new(),
            taken: 0,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for LenientTargets<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let it = self.get_mut();
        if it.taken == it.ready.len() {
            let mut space = [0; READ_AT_ONCE];
            let mut space = ReadBuf::new(&mut space);
            ready!(Pin::new(&mut it.stream).poll_read(context, &mut space))?;
            it.ready.clear();
            it.taken = 0;
            it.targets.pass(space.filled(), &mut it.ready);
        }
        let left = it.ready.get(it.taken..).unwrap_or_default();
        let now = left.get(..into.remaining()).unwrap_or(left);
        into.put_slice(now);
        it.taken += now.len();
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for LenientTargets<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Place, Targets};

    fn passed(bytes: &[u8]) -> String {
        let mut targets = Targets::new();
        let mut out = Vec::new();
        targets.pass(bytes, &mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn only_targets_are_encoded() {
        assert_eq!(
            passed(b"GET /_all_dbs?start_key=\"a/\" HTTP/1.1\r\nX: \"<>\"\r\n\r\n"),
            "GET /_all_dbs?start_key=%22a/%22 HTTP/1.1\r\nX: \"<>\"\r\n\r\n"
        );
        assert_eq!(
            passed(
                b"PUT /{a} HTTP/1.1\r\nContent-Length: 7\r\n\r\n{ \"a\" }GET /`b|c HTTP/1.1\r\n\r\n"
            ),
            "PUT /%7Ba%7D HTTP/1.1\r\nContent-Length: 7\r\n\r\n{ \"a\" }GET /%60b%7Cc HTTP/1.1\r\n\r\n"
        );
    }

    #[test]
    fn what_is_not_understood_is_not_changed() {
        for head in [
            "POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            "POST / HTTP/1.1\r\nA: b\r\n c: \"\r\n\r\n",
            "POST / HTTP/1.1\r\nno header\r\n\r\n",
        ] {
            let text = format!("{head}GET /\"<>\" HTTP/1.1\r\n\r\n");
            assert_eq!(passed(text.as_bytes()), text);
        }
    }

    /// A request in its form on the wire, and in the form that is parsed.
    fn request() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
        let target = "/[a-z\"<>{}|]{0,12}";
        let body = proptest::collection::vec(any::<u8>(), 0..60);
        (target, body, 0..3_u8, any::<bool>()).prop_map(|(target, body, framing, is_bare)| {
            let end = if is_bare { "\n" } else { "\r\n" };
            let mut tail = format!(" HTTP/1.1{end}Host: \"x\"{end}").into_bytes();
            match framing {
                0 => tail.extend_from_slice(end.as_bytes()),
                1 => {
                    tail.extend(format!("content-LENGTH: {}{end}{end}", body.len()).bytes());
                    tail.extend_from_slice(&body);
                }
                _ => {
                    tail.extend(format!("Transfer-Encoding: Chunked{end}{end}").bytes());
                    for chunk in body.chunks(7) {
                        tail.extend(format!("{:x};a=\"{end}", chunk.len()).bytes());
                        tail.extend_from_slice(chunk);
                        tail.extend_from_slice(end.as_bytes());
                    }
                    tail.extend(format!("0{end}T: \"{end}{end}").bytes());
                }
            }
            let encoded =
                ['"', '<', '>', '{', '}', '|']
                    .iter()
                    .fold(target.clone(), |target, character| {
                        let code = u32::from(*character);
                        target.replace(*character, &format!("%{code:02X}"))
                    });
            let form = |target: &str| {
                let mut bytes = format!("POST {target}").into_bytes();
                bytes.extend_from_slice(&tail);
                bytes
            };
            (form(&target), form(&encoded))
        })
    }

    proptest! {
        #[test]
        fn requests_one_after_the_other_are_told_apart(
            requests in proptest::collection::vec(request(), 1..6),
            pieces in proptest::collection::vec(1..50_usize, 1..40),
        ) {
            let sent: Vec<u8> = requests.iter().flat_map(|(sent, _)| sent.clone()).collect();
            let parsed: Vec<u8> = requests.iter().flat_map(|(_, parsed)| parsed.clone()).collect();
            let mut targets = Targets::new();
            let mut out = Vec::new();
            let mut rest = sent.as_slice();
            for piece in pieces.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (now, later) = rest.split_at(rest.len().min(*piece));
                targets.pass(now, &mut out);
                rest = later;
            }
            prop_assert_eq!(out, parsed);
            prop_assert_eq!(targets.place, Place::Method);
        }
    }
}
