//! The way to the web: limits on size, time and redirections.

use std::time::Duration;

use reqwest::{StatusCode, redirect};
use sha2::{Digest as _, Sha256};
use url::Url;

use crate::error::Error;

/// How long a registry may take to answer.
const REGISTRY_PATIENCE: Duration = Duration::from_secs(5);
/// How long an archive may take, from the first byte asked for to the last received.
const ARCHIVE_PATIENCE: Duration = Duration::from_secs(60);
/// Redirections that are followed.
const REDIRECTIONS: usize = 5;

/// An HTTP client. Clones share its connections.
#[derive(Clone, Debug)]
pub(crate) struct Client(reqwest::Client);

impl Client {
    /// A client.
    ///
    /// # Errors
    /// When the system's certificates cannot be used.
    pub(crate) fn new() -> Result<Self, reqwest::Error> {
        // Another part of the process may have chosen already; either choice will do.
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
    /// For any other answer.
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

    /// An archive, whole and with the checksum that was announced.
    ///
    /// # Errors
    /// When it cannot be had, is too large or is another one.
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

/// The whole body; `None` when it is larger than it may be.
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

/// An address as it may be shown: scheme, host and port. The rest may hold what is private.
pub(super) fn shown(url: &Url) -> String {
    url.origin().ascii_serialization()
}

/// What went wrong, without the address.
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
