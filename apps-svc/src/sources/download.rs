//! Downloads with limits on size, time and redirects.

use std::time::Duration;

use reqwest::{StatusCode, redirect};
use sha2::{Digest as _, Sha256};
use url::Url;

use crate::error::Error;

/// The timeout of a request to a registry.
const REGISTRY_PATIENCE: Duration = Duration::from_secs(5);
/// The timeout of an archive download, from the request to the last byte.
const ARCHIVE_PATIENCE: Duration = Duration::from_secs(60);
/// How many redirects are followed.
const REDIRECTIONS: usize = 5;

/// An HTTP client. Clones share its connection pool.
#[derive(Clone, Debug)]
pub(crate) struct Client(reqwest::Client);

impl Client {
    /// Creates a client.
    ///
    /// # Errors
    /// When the certificates of the system cannot be loaded.
    pub(crate) fn new() -> Result<Self, reqwest::Error> {
        // Another part of the process may have installed a provider already. Either one works.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let redirect = redirect::Policy::custom(|attempt| {
            let downgrade = attempt.url().scheme() != "https"
                && attempt.previous().iter().any(|url| url.scheme() == "https");
            if downgrade {
                attempt.error("it redirects from https to http")
            } else if attempt.previous().len() > REDIRECTIONS {
                attempt.error("it redirects too often")
            } else {
                attempt.follow()
            }
        });
        reqwest::Client::builder()
            .redirect(redirect)
            .connect_timeout(Duration::from_secs(5))
            .user_agent(concat!("hamlet/", env!("CARGO_PKG_VERSION")))
            .build()
            .map(Self)
    }

    /// The answer of a registry; `None` for 404.
    ///
    /// # Errors
    /// For any status other than 200 and 404, and for an answer that is too large.
    pub(crate) async fn json(&self, url: &Url, largest: usize) -> Result<Option<Vec<u8>>, Error> {
        let fail = |why: String| Error::Registry {
            registry: shown(url),
            why,
        };
        let request = self.0.get(url.clone()).timeout(REGISTRY_PATIENCE);
        let answer = request.send().await.map_err(|error| fail(reason(&error)))?;
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Ok(None),
            status => return Err(fail(format!("answered {status}"))),
        }
        match collect(answer, largest).await {
            Ok(Some(bytes)) => Ok(Some(bytes)),
            Ok(None) => Err(fail(format!(
                "answered with more than {} MiB",
                largest >> 20
            ))),
            Err(error) => Err(fail(reason(&error))),
        }
    }

    /// Downloads an archive and verifies its checksum.
    ///
    /// # Errors
    /// When the download fails, the archive is too large, or its checksum is not the expected one.
    pub(crate) async fn archive(
        &self,
        url: &Url,
        sha256: Option<&str>,
        largest: usize,
    ) -> Result<Vec<u8>, Error> {
        let fail = |why: String| Error::Download {
            host: shown(url),
            why,
        };
        let request = self.0.get(url.clone()).timeout(ARCHIVE_PATIENCE);
        let answer = request.send().await.map_err(|error| fail(reason(&error)))?;
        match answer.status() {
            StatusCode::OK => {}
            status @ (StatusCode::NOT_FOUND | StatusCode::GONE) => {
                return Err(Error::NotFound {
                    source_text: shown(url),
                    why: format!("the archive is not there: it answered {status}"),
                });
            }
            status => return Err(fail(format!("it answered {status}"))),
        }
        let Some(bytes) = collect(answer, largest)
            .await
            .map_err(|error| fail(reason(&error)))?
        else {
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

/// Reads the whole body; `None` when it exceeds the limit.
async fn collect(
    mut answer: reqwest::Response,
    largest: usize,
) -> Result<Option<Vec<u8>>, reqwest::Error> {
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
    if error.is_timeout() {
        return "does not answer in time".to_owned();
    }
    if error.is_connect() {
        return "cannot be reached".to_owned();
    }
    if error.is_redirect() {
        return "redirects too often, or from https to http".to_owned();
    }
    "breaks off its answer".to_owned()
}
