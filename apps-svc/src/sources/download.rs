//! Downloads with limits on size, time and redirects.

use std::{io, time::Duration};

use ipnet::IpNet;
use reqwest::{Response, StatusCode, header::LOCATION, redirect};
use sha2::{Digest as _, Sha256};
use tokio::time::timeout;
use url::{Host, Url};

use super::address::{Allowed, NotPublic};
use crate::error::Error;

/// The timeout of a request to a registry.
const REGISTRY_PATIENCE: Duration = Duration::from_secs(5);
/// The timeout of an archive download, from the request to the last byte.
const ARCHIVE_PATIENCE: Duration = Duration::from_secs(60);
/// How many redirects are followed.
const REDIRECTIONS: usize = 5;

/// An HTTP client. Clones share its connection pools.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    /// For servers that the configuration names: any address may be used.
    trusted: reqwest::Client,
    /// For all others.
    checked: reqwest::Client,
    allowed: Allowed,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{}", reason(.0))]
    Request(#[from] reqwest::Error),
    #[error("does not answer in time")]
    Late,
    #[error("redirects too often")]
    Redirects,
    #[error("redirects from https to http")]
    Downgrade,
    #[error("redirects to what is no address of the web")]
    Target,
    #[error("{0}; the configuration can allow its network (--app-networks)")]
    NotPublic(#[from] NotPublic),
    #[error(
        "redirects to an address that is not public; the configuration can allow its network (--app-networks)"
    )]
    RedirectNotPublic,
}

impl Failure {
    /// Whether the configuration does not allow the address, or that of a redirect.
    fn is_not_public(&self) -> bool {
        match self {
            Self::NotPublic(_) | Self::RedirectNotPublic => true,
            Self::Request(error) => is_not_public(error),
            _ => false,
        }
    }

    /// Whether another try would fail alike.
    fn is_final(&self) -> bool {
        match self {
            Self::Redirects | Self::Downgrade | Self::Target => true,
            Self::Request(_) | Self::Late | Self::NotPublic(_) | Self::RedirectNotPublic => {
                self.is_not_public()
            }
        }
    }
}

impl Client {
    /// Creates a client that downloads from public addresses and from these networks.
    ///
    /// # Errors
    /// When the certificates of the system cannot be loaded.
    pub(crate) fn new(networks: &[IpNet]) -> Result<Self, reqwest::Error> {
        // Another part of the process may have installed a provider already. Either one works.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let allowed = Allowed::new(networks);
        let builder = || {
            reqwest::Client::builder()
                // Each redirect is checked here before it is followed.
                .redirect(redirect::Policy::none())
                .connect_timeout(Duration::from_secs(5))
                .user_agent(concat!("hamlet/", env!("CARGO_PKG_VERSION")))
        };
        Ok(Self {
            trusted: builder().build()?,
            checked: builder()
                // A proxy would connect to addresses that nobody here has checked.
                .no_proxy()
                .dns_resolver(allowed.clone())
                .build()?,
            allowed,
        })
    }

    /// The answer to a request, after redirects. A server of the same origin as `trusted` may have any address.
    async fn get(&self, url: &Url, trusted: Option<&Url>) -> Result<Response, Failure> {
        let mut url = url.clone();
        for redirects in 0..=REDIRECTIONS {
            let answer = self.get_one(&url, trusted).await;
            let answer = answer.map_err(|failure| match redirects {
                0 => failure,
                // The address that was asked for is not to blame.
                _ if failure.is_not_public() => Failure::RedirectNotPublic,
                _ => failure,
            })?;
            if !answer.status().is_redirection() {
                return Ok(answer);
            }
            let Some(target) = answer.headers().get(LOCATION) else {
                return Ok(answer);
            };
            let target = target.to_str().ok().and_then(|it| url.join(it).ok());
            let target = target.filter(|it| matches!(it.scheme(), "http" | "https"));
            let target = target.ok_or(Failure::Target)?;
            if url.scheme() == "https" && target.scheme() != "https" {
                return Err(Failure::Downgrade);
            }
            url = target;
        }
        Err(Failure::Redirects)
    }

    /// The answer to one request.
    async fn get_one(&self, url: &Url, trusted: Option<&Url>) -> Result<Response, Failure> {
        let is_trusted = trusted.is_some_and(|it| it.origin() == url.origin());
        let client = if is_trusted {
            &self.trusted
        } else {
            self.check_host(url)?;
            &self.checked
        };
        Ok(client.get(url.clone()).send().await?)
    }

    /// Checks an address that stands in the URL itself: the resolver does not see it.
    fn check_host(&self, url: &Url) -> Result<(), NotPublic> {
        let address = match url.host() {
            Some(Host::Ipv4(address)) => address.into(),
            Some(Host::Ipv6(address)) => address.into(),
            Some(Host::Domain(_)) | None => return Ok(()),
        };
        self.allowed.has(address).then_some(()).ok_or(NotPublic)
    }

    /// The answer of a registry of the configuration; `None` for 404.
    ///
    /// # Errors
    /// For any status other than 200 and 404, and for an answer that is too large.
    pub(crate) async fn json(&self, url: &Url, largest: usize) -> Result<Option<Vec<u8>>, Error> {
        let fail = |why: String| Error::Registry {
            registry: shown(url),
            why,
        };
        let invalid = |why: String| Error::RegistryAnswer {
            registry: shown(url),
            why,
        };
        let answered = async {
            let answer = self.get(url, Some(url)).await?;
            let status = answer.status();
            let bytes = match status {
                StatusCode::OK => collect(answer, largest).await?,
                _ => None,
            };
            Ok::<_, Failure>((status, bytes))
        };
        let answered = timeout(REGISTRY_PATIENCE, answered).await;
        match answered.map_err(|_| Failure::Late).flatten() {
            Ok((StatusCode::OK, Some(bytes))) => Ok(Some(bytes)),
            Ok((StatusCode::OK, None)) => Err(invalid(format!(
                "answered with more than {} MiB",
                largest >> 20
            ))),
            Ok((StatusCode::NOT_FOUND, _)) => Ok(None),
            Ok((status, _)) if is_final(status) => Err(invalid(format!("answered {status}"))),
            Ok((status, _)) => Err(fail(format!("answered {status}"))),
            Err(failure) if failure.is_final() => Err(invalid(failure.to_string())),
            Err(failure) => Err(fail(failure.to_string())),
        }
    }

    /// Downloads an archive and verifies its checksum. `registry` is the registry of the configuration that named it.
    ///
    /// # Errors
    /// When the download fails, the archive is too large, or its checksum is not the expected one.
    pub(crate) async fn archive(
        &self,
        url: &Url,
        registry: Option<&Url>,
        sha256: Option<&str>,
        largest: usize,
    ) -> Result<Vec<u8>, Error> {
        let fail = |why: String| Error::Download {
            host: shown(url),
            why,
        };
        let refused = |why: String| Error::DownloadRefused {
            host: shown(url),
            why,
        };
        let answered = async {
            let answer = self.get(url, registry).await?;
            let status = answer.status();
            let bytes = match status {
                StatusCode::OK => collect(answer, largest).await?,
                _ => None,
            };
            Ok::<_, Failure>((status, bytes))
        };
        let answered = timeout(ARCHIVE_PATIENCE, answered).await;
        let (status, bytes) = answered
            .map_err(|_| Failure::Late)
            .flatten()
            .map_err(|failure| {
                if failure.is_not_public() {
                    // Neither a later try nor another server helps.
                    return Error::Field {
                        field: "source",
                        wrong: format!("cannot be downloaded from {}: it {failure}", shown(url)),
                    };
                }
                let why = format!("it {failure}");
                if failure.is_final() {
                    refused(why)
                } else {
                    fail(why)
                }
            })?;
        match status {
            StatusCode::OK => {}
            status @ (StatusCode::NOT_FOUND | StatusCode::GONE) => {
                return Err(Error::NotFound {
                    source_text: shown(url),
                    why: format!("the archive is not there: it answered {status}"),
                });
            }
            status if is_final(status) => return Err(refused(format!("it answered {status}"))),
            status => return Err(fail(format!("it answered {status}"))),
        }
        let Some(bytes) = bytes else {
            return Err(Error::Archive(format!(
                "it is larger than {} MiB",
                largest >> 20
            )));
        };
        if let Some(announced) = sha256 {
            let found = hex::encode(Sha256::digest(&bytes));
            if found != announced {
                return Err(Error::Checksum {
                    announced: announced.to_owned(),
                    found,
                });
            }
        }
        Ok(bytes)
    }
}

/// Whether a server gives the same answer to another try: a redirect without a target, a success that is no file, and the
/// errors of the request, except those that say to try again.
fn is_final(status: StatusCode) -> bool {
    let may_pass = status.is_server_error()
        || [
            StatusCode::REQUEST_TIMEOUT,
            StatusCode::TOO_EARLY,
            StatusCode::TOO_MANY_REQUESTS,
        ]
        .contains(&status);
    !may_pass
}

/// Reads the whole body; `None` when it exceeds the limit.
async fn collect(mut answer: Response, largest: usize) -> Result<Option<Vec<u8>>, reqwest::Error> {
    if answer
        .content_length()
        .is_some_and(|length| length > largest as u64)
    {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        if bytes.len() + chunk.len() > largest {
            return Ok(None);
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(Some(bytes))
}

/// The part of a URL that may appear in messages: scheme, host and port. The rest may contain private data.
pub(super) fn shown(url: &Url) -> String {
    url.origin().ascii_serialization()
}

/// The cause of an error, without the URL.
fn reason(error: &reqwest::Error) -> String {
    if is_not_public(error) {
        return format!("{NotPublic}; the configuration can allow its network (--app-networks)");
    }
    if error.is_timeout() {
        return "does not answer in time".to_owned();
    }
    if error.is_connect() {
        return "cannot be reached".to_owned();
    }
    "breaks off its answer".to_owned()
}

/// Whether the resolver refused the name.
fn is_not_public(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        // The resolver's error travels inside of an `io::Error`, which does not name it as its source.
        let inner = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        if error.is::<NotPublic>() || matches!(inner, Some(inner) if inner.is::<NotPublic>()) {
            return true;
        }
        cause = error.source();
    }
    false
}
