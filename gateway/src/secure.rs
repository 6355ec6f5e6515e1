//! How clients get to https and stay there: HSTS, and the listener that redirects.

use std::{convert::Infallible, io, sync::Arc, time::Duration};

use http::{HeaderValue, Request, Response, StatusCode, Uri, header::LOCATION};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use service_kit::telemetry;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    answer::{Body, http::plain},
    host::Host,
    proxied::{Scheme, TrustedProxies, protocol},
    seldom::Seldom,
};

/// What is usual, and what lists of preloaded hosts demand.
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
/// The port of https that no address names.
const HTTPS: u16 = 443;
/// How long a connection may take altogether: it carries one request without a body.
const WITHIN: Duration = Duration::from_secs(10);
/// How many connections are redirected at once.
const CONNECTIONS: usize = 1024;

/// The header by which browsers are told to use https only (RFC 6797).
#[derive(Clone, Debug)]
pub(crate) struct Hsts(Option<HeaderValue>);

impl Hsts {
    /// `age` is the setting; without it, a year when the gateway itself speaks TLS.
    ///
    /// Subdomains are not included: the apps of an instance get the header at their own hosts, and the domain of an
    /// instance may have subdomains that are none of Hamlet's.
    pub(crate) fn new(age: Option<Duration>, tls: bool) -> Self {
        let age = age.unwrap_or(if tls { YEAR } else { Duration::ZERO });
        let value = format!("max-age={}", age.as_secs());
        Self(match age {
            Duration::ZERO => None,
            _ => HeaderValue::try_from(value).ok(),
        })
    }

    /// The value for an answer to a request that came by `scheme`. Without TLS it has no meaning, and neither has it
    /// for an IP address (RFC 6797, sections 7.2 and 8.1.1).
    pub(crate) fn header(&self, scheme: Scheme, host: &Host) -> Option<HeaderValue> {
        let applies = scheme == Scheme::Https && host.ip().is_none();
        self.0.clone().filter(|_| applies)
    }
}

/// Redirects to the same address with https, whatever the method is. Who named a port does not reach the gateway at the
/// usual ones, and is sent to `port`.
pub(crate) fn redirect_to_https(host: &Host, target: &Uri, port: u16) -> Response<Body> {
    let name = host.name();
    let authority = match host.authority().port() {
        Some(_) if port != HTTPS => format!("{name}:{port}"),
        _ => name.to_owned(),
    };
    let path = target
        .path_and_query()
        .map_or("/", |path| path.as_str())
        .trim_start_matches('*');
    let separator = if path.starts_with('/') { "" } else { "/" };
    // A target that came in as a URI can stand in a header.
    match HeaderValue::try_from(format!("https://{authority}{separator}{path}")) {
        Ok(location) => {
            let mut response = plain(StatusCode::PERMANENT_REDIRECT, "use https");
            response.headers_mut().insert(LOCATION, location);
            response
        }
        Err(_) => plain(StatusCode::BAD_REQUEST, "the address cannot be used"),
    }
}

/// The listener without TLS beside a public door with TLS.
pub(crate) struct Redirect {
    pub(crate) listener: TcpListener,
    /// The port of the public door.
    pub(crate) port: u16,
    /// The proxies whose connections begin with a header of the PROXY protocol; none when it is not used.
    pub(crate) with_header: TrustedProxies,
}

static FAILED: Seldom = Seldom::new();

impl Redirect {
    /// Redirects until shutdown.
    ///
    /// # Errors
    /// When the listener fails.
    pub(crate) async fn serve(self, shutdown: CancellationToken) -> io::Result<()> {
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let place = Arc::clone(&places).acquire_owned().await;
            let accepted = tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                accepted = self.listener.accept() => accepted,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                // Others are errors of single connections.
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::InvalidInput | io::ErrorKind::NotConnected
                    ) =>
                {
                    return Err(error);
                }
                Err(error) => {
                    if let Some(unseen) = FAILED.now() {
                        tracing::warn!(%error, unseen, "cannot accept a connection");
                    }
                    // Out of file descriptors, most likely: trying at once would only spin.
                    sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let has_header = self.with_header.contains(peer.ip());
            let (port, shutdown) = (self.port, shutdown.clone());
            tokio::spawn(async move {
                let answering = timeout(WITHIN, answer(stream, has_header, port));
                tokio::select! {
                    () = shutdown.cancelled() => {}
                    ended = answering => match ended {
                        Ok(Ok(())) => {}
                        Ok(Err(error)) => tracing::debug!(error, "a connection ended badly"),
                        Err(_) => tracing::debug!("a connection took too long"),
                    },
                }
                drop(place);
            });
        }
    }
}

async fn answer(
    mut stream: TcpStream,
    has_header: bool,
    port: u16,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    if has_header {
        protocol::read_header(&mut stream).await?;
    }
    let service = service_fn(move |request: Request<hyper::body::Incoming>| async move {
        let response = match Host::of(&request) {
            Ok(host) => redirect_to_https(&host, request.uri(), port),
            Err(malformed) => plain(StatusCode::BAD_REQUEST, &malformed.to_string()),
        };
        telemetry::page("redirect", response.status());
        Ok::<_, Infallible>(response)
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(WITHIN)
        .max_buf_size(16 * 1024)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use std::{net::SocketAddr, time::Duration};

    use http::Uri;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::{TcpListener, TcpStream},
    };
    use tokio_util::sync::CancellationToken;

    use super::{Hsts, Redirect, redirect_to_https};
    use crate::{
        host::Host,
        proxied::{Scheme, TrustedProxies},
    };

    #[test]
    fn hsts_is_sent_where_it_has_a_meaning() {
        let domain = Host::parse("alice.example").unwrap();
        let address = Host::parse("[::1]").unwrap();
        let day = Some(Duration::from_secs(86_400));
        for (hsts, scheme, host, value) in [
            (
                Hsts::new(None, true),
                Scheme::Https,
                &domain,
                Some("max-age=31536000"),
            ),
            (Hsts::new(None, true), Scheme::Http, &domain, None),
            (Hsts::new(None, true), Scheme::Https, &address, None),
            (Hsts::new(None, false), Scheme::Https, &domain, None),
            (
                Hsts::new(day, false),
                Scheme::Https,
                &domain,
                Some("max-age=86400"),
            ),
            (
                Hsts::new(Some(Duration::ZERO), true),
                Scheme::Https,
                &domain,
                None,
            ),
        ] {
            let header = hsts.header(scheme, host);
            assert_eq!(header.as_ref().map(|it| it.to_str().unwrap()), value);
        }
    }

    #[test]
    fn the_address_is_kept() {
        for (host, target, port, location) in [
            ("alice.example", "/", 443, "https://alice.example/"),
            (
                "Alice.Example.",
                "/a%20b?c=d",
                8443,
                "https://alice.example/a%20b?c=d",
            ),
            (
                "alice.localhost:8080",
                "/a",
                8443,
                "https://alice.localhost:8443/a",
            ),
            ("alice.example:80", "/a", 443, "https://alice.example/a"),
            (
                "[::1]:80",
                "//evil.example/",
                8443,
                "https://[::1]:8443//evil.example/",
            ),
            ("alice.example", "*", 443, "https://alice.example/"),
            (
                "alice.example",
                "http://alice.example?q",
                443,
                "https://alice.example/?q",
            ),
        ] {
            let host = Host::parse(host).unwrap();
            let target: Uri = target.parse().unwrap();
            let response = redirect_to_https(&host, &target, port);
            assert_eq!(response.status(), 308);
            assert_eq!(response.headers()["location"], location);
        }
    }

    async fn ask(address: SocketAddr, text: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn the_listener_redirects_what_names_a_host() {
        let shutdown = CancellationToken::new();
        let start = async |with_header| {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let redirect = Redirect {
                listener,
                port: 443,
                with_header,
            };
            (address, tokio::spawn(redirect.serve(shutdown.clone())))
        };
        let (address, serving) = start(TrustedProxies::default()).await;
        let answer = ask(
            address,
            "POST /a?b HTTP/1.1\r\nHost: alice.example\r\nContent-Length: 0\r\n\r\n",
        )
        .await;
        assert!(answer.starts_with("HTTP/1.1 308 "), "{answer}");
        assert!(
            answer.contains("location: https://alice.example/a?b\r\n"),
            "{answer}"
        );
        for wrong in [
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a.example\r\nHost: a.example\r\n\r\n",
            "GET http://b.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n",
        ] {
            let answer = ask(address, wrong).await;
            assert!(answer.starts_with("HTTP/1.1 400 "), "{wrong:?}: {answer}");
        }

        let local = TrustedProxies::new(&["127.0.0.0/8".parse().unwrap()]);
        let (address, behind_proxy) = start(local).await;
        let request = "GET / HTTP/1.1\r\nHost: alice.example\r\n\r\n";
        let header = "PROXY TCP4 192.0.2.1 192.0.2.2 1 80\r\n";
        let answer = ask(address, &format!("{header}{request}")).await;
        assert!(answer.starts_with("HTTP/1.1 308 "), "{answer}");
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // Closed with unread bytes, a connection is reset.
        let _reset = stream.read_to_end(&mut answer).await;
        assert!(answer.is_empty(), "{answer:?}");

        shutdown.cancel();
        serving.await.unwrap().unwrap();
        behind_proxy.await.unwrap().unwrap();
    }
}
