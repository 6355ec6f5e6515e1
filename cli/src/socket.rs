//! One connection to the admin door, with TLS or without, and what shows that the other side expects the other.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use http::Uri;
use hyper_util::{client::legacy::connect::HttpConnector, rt::TokioIo};
use rustls::{
    AlertDescription, CertificateError, ClientConfig, crypto::ring, pki_types::ServerName,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tower::Service as _;

use crate::{
    authority::{Authorities, tls_error},
    error::CommandError,
};

/// The only protocol offered: gRPC runs over HTTP/2.
const ALPN: &[u8] = b"h2";
/// The first byte of a record with an alert (RFC 8446, section 5.1): the answer of a server with TLS to what is none.
const ALERT: u8 = 21;

/// Why a server is not the one that was named. More tries would not help.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mismatch {
    /// It speaks TLS, and was named without.
    SpeaksTls,
    /// It speaks HTTP/1.1 where HTTP/2 without TLS was expected, as some servers with TLS do to say so.
    SpeaksHttp1,
    /// It speaks no TLS, and was named with it.
    SpeaksNoTls,
    /// It speaks TLS, but no HTTP/2.
    SpeaksNoHttp2,
    /// Its certificate is by nobody who counts.
    OfOtherAuthority,
    /// Its certificate is for other hosts: these, as far as it tells.
    OfOtherHosts(Vec<String>),
    /// Its certificate does not count, for this reason.
    Uncertified(String),
}

/// Connects to one server.
#[derive(Clone)]
pub(crate) struct Connector {
    url: Uri,
    http: HttpConnector,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    seen: Seen,
}

/// What the last connection showed.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Option<Mismatch>>>);

impl Seen {
    fn set(&self, mismatch: Option<Mismatch>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = mismatch;
    }

    fn get(&self) -> Option<Mismatch> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Connector {
    /// Connects to the server at `url`, over TLS if there are authorities. Connecting takes `within` at most.
    ///
    /// # Errors
    /// When no certificate could be for the host of `url`.
    pub(crate) fn new(
        url: &Uri,
        authorities: Option<&Authorities>,
        within: Duration,
    ) -> Result<Self, CommandError> {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_connect_timeout(Some(within));
        let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
        let tls = match authorities {
            Some(authorities) => {
                let name = ServerName::try_from(host.to_owned()).map_err(|_| {
                    CommandError::Usage(format!(
                        "{url}: no certificate can be for {host}; name the host as its certificate does"
                    ))
                })?;
                Some((connector_for(authorities)?, name))
            }
            None => None,
        };
        Ok(Self {
            url: url.clone(),
            http,
            tls,
            seen: Seen::default(),
        })
    }

    /// What is wrong with the server itself, if the last connection showed it.
    pub(crate) fn mismatch(&self) -> Option<Mismatch> {
        self.seen.get()
    }

    /// Opens a connection.
    ///
    /// # Errors
    /// When the server cannot be reached, or is not who it should be.
    pub(crate) async fn connect(mut self) -> Result<TokioIo<Socket>, BoxError> {
        self.seen.set(None);
        std::future::poll_fn(|cx| self.http.poll_ready(cx)).await?;
        let stream = self.http.call(self.url.clone()).await?.into_inner();
        let Some((tls, name)) = self.tls else {
            return Ok(TokioIo::new(Socket::Plain(Listening {
                stream,
                seen: Some(self.seen),
            })));
        };
        let stream = match tls.connect(name, stream).await {
            Ok(stream) => stream,
            Err(error) => {
                self.seen.set(mismatch_of(&error));
                return Err(error.into());
            }
        };
        if stream.get_ref().1.alpn_protocol() != Some(ALPN) {
            self.seen.set(Some(Mismatch::SpeaksNoHttp2));
            return Err("it does not agree to HTTP/2".into());
        }
        Ok(TokioIo::new(Socket::Tls(Box::new(stream))))
    }
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connector")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

fn connector_for(authorities: &Authorities) -> Result<TlsConnector, CommandError> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| CommandError::Failed(format!("cannot set up TLS: {error}")))?
        .with_root_certificates(authorities.roots())
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Any error of a connection.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What the error of a handshake says about the server. `None` when it may be over in a moment.
fn mismatch_of(error: &io::Error) -> Option<Mismatch> {
    Some(match tls_error(error)? {
        // Its first bytes are no record of TLS.
        rustls::Error::InvalidMessage(_) => Mismatch::SpeaksNoTls,
        rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol) => {
            Mismatch::SpeaksNoHttp2
        }
        rustls::Error::AlertReceived(AlertDescription::UnrecognisedName) => {
            Mismatch::OfOtherHosts(Vec::new())
        }
        rustls::Error::InvalidCertificate(why) => match why {
            // The signature is wrong where another authority has the same name, as one that was made anew.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                Mismatch::OfOtherAuthority
            }
            CertificateError::NotValidForName => Mismatch::OfOtherHosts(Vec::new()),
            CertificateError::NotValidForNameContext { presented, .. } => {
                Mismatch::OfOtherHosts(presented.iter().map(|it| bare(it)).collect())
            }
            other => Mismatch::Uncertified(in_words(other)),
        },
        _ => return None,
    })
}

/// Why a certificate does not count.
fn in_words(why: &CertificateError) -> String {
    let told = why.to_string();
    // What `openssl req -x509` makes by default. The TLS library has no variant for it.
    if told.contains("CaUsedAsEndEntity") {
        return "it is that of an authority itself; give the server one that the authority has issued, or a self-signed \
                one with basicConstraints=CA:FALSE"
            .to_owned();
    }
    told
}

/// A name without what the TLS library writes around it: `localhost` of `DnsName("localhost")`.
fn bare(presented: &str) -> String {
    let inner = presented
        .split_once('(')
        .and_then(|(_, rest)| rest.strip_suffix(')'));
    inner.unwrap_or(presented).trim_matches('"').to_owned()
}

/// A connection.
pub(crate) enum Socket {
    /// Without TLS.
    Plain(Listening),
    /// With TLS.
    Tls(Box<TlsStream<TcpStream>>),
}

/// A connection without TLS, whose first byte tells whether the other side expects TLS.
pub(crate) struct Listening {
    stream: TcpStream,
    /// Where it is told, until the first byte has come.
    seen: Option<Seen>,
}

impl Listening {
    /// Looks at the first byte.
    fn heard(&mut self, bytes: &[u8]) {
        let (Some(first), Some(seen)) = (bytes.first(), &self.seen) else {
            return;
        };
        match *first {
            ALERT => seen.set(Some(Mismatch::SpeaksTls)),
            b'H' => seen.set(Some(Mismatch::SpeaksHttp1)),
            _ => {}
        }
        self.seen = None;
    }

    /// The other side closed its end while this one was writing: what it said before may lie there unread.
    fn listen_once_more(&mut self) {
        if self.seen.is_none() {
            return;
        }
        let mut first = [0];
        if let Ok(1) = self.stream.try_read(&mut first) {
            self.heard(&first);
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(plain) => {
                let before = buffer.filled().len();
                let read = Pin::new(&mut plain.stream).poll_read(cx, buffer);
                plain.heard(buffer.filled().get(before..).unwrap_or_default());
                read
            }
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(plain) => {
                let written = Pin::new(&mut plain.stream).poll_write(cx, buffer);
                if matches!(written, Poll::Ready(Err(_))) {
                    plain.listen_once_more();
                }
                written
            }
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buffer),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(plain) => Pin::new(&mut plain.stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(plain) => Pin::new(&mut plain.stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::bare;

    #[test]
    fn names_of_a_certificate_are_told_as_people_write_them() {
        for (presented, told) in [
            ("DnsName(\"localhost\")", "localhost"),
            ("IpAddress(127.0.0.1)", "127.0.0.1"),
            ("strange", "strange"),
        ] {
            assert_eq!(bare(presented), told);
        }
    }
}
