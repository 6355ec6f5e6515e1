//! One HTTP call: built by `couch_rs`, sent with a deadline, its response read completely.
//!
//! The HTTP client inside `couch_rs` cannot be configured to ignore the proxies of the environment,
//! to limit idle connections, or to hide credentials from `Debug`. Its errors drop either CouchDB's
//! `error` or its `reason`. So `couch_rs` only builds the requests, without credentials, and a
//! `reqwest` client of this crate sends them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderValue, REFERER};
use reqwest::{Method, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::Instant;
use tracing::Instrument as _;

use crate::config::{CouchConfig, Endpoint};
use crate::credentials::Credentials;
use crate::error::{Call, Error, Result};
use crate::random::Random;

/// The largest response that is read, in bytes. A page of large documents is far smaller.
const MAX_RESPONSE_BYTES: usize = 256 << 20;

/// How often a repeatable call is attempted.
const MAX_ATTEMPTS: u32 = 5;

/// A request to the server.
pub(crate) struct Request<'a> {
    pub(crate) call: &'a Call,
    pub(crate) method: Method,
    /// Percent-encoded, without the leading slash.
    pub(crate) path: String,
    pub(crate) query: Vec<(&'static str, String)>,
    pub(crate) body: Option<Vec<u8>>,
}

impl<'a> Request<'a> {
    pub(crate) fn new(call: &'a Call, method: Method, path: impl Into<String>) -> Self {
        Self {
            call,
            method,
            path: path.into(),
            query: Vec::new(),
            body: None,
        }
    }

    pub(crate) fn query(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.query.push((name, value.into()));
        self
    }

    pub(crate) fn json(mut self, body: &Value) -> Self {
        self.body = Some(body.to_string().into_bytes());
        self
    }
}

/// A response with any status.
pub(crate) struct Response {
    pub(crate) status: StatusCode,
    body: Vec<u8>,
}

impl Response {
    pub(crate) fn json<T: DeserializeOwned>(&self, call: &Call) -> Result<T> {
        serde_json::from_slice(&self.body).map_err(|source| Error::Corrupt {
            call: call.clone(),
            detail: "it is not the JSON that belongs to the call".to_owned(),
            source: Some(source),
        })
    }

    /// CouchDB's `error` and `reason`, each empty if the response has none.
    pub(crate) fn error_and_reason(&self) -> (String, String) {
        let body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        let member = |name| {
            body.get(name)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        (member("error"), member("reason"))
    }

    /// Whether this is the 404 of a missing database, not of a missing document.
    pub(crate) fn is_database_missing(&self) -> bool {
        self.status == StatusCode::NOT_FOUND
            && self
                .error_and_reason()
                .1
                .starts_with("Database does not exist")
    }

    /// The error for a status that the caller does not handle itself.
    pub(crate) fn to_error(&self, call: &Call) -> Error {
        let call = call.clone();
        let (error, reason) = self.error_and_reason();
        match self.status {
            _ if self.is_database_missing() => Error::DatabaseMissing { call },
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Error::Unauthorized { call, reason }
            }
            StatusCode::PAYLOAD_TOO_LARGE => Error::TooLarge { call, reason },
            status => Error::Refused {
                call,
                status: status.as_u16(),
                error,
                reason,
            },
        }
    }

    /// This response if its status is 2xx, else its error.
    pub(crate) fn success(self, call: &Call) -> Result<Self> {
        if self.status.is_success() {
            Ok(self)
        } else {
            Err(self.to_error(call))
        }
    }
}

pub(crate) struct Transport {
    /// Builds requests. It has no credentials and never sends.
    builder: couch_rs::Client,
    client: reqwest::Client,
    credentials: Option<Credentials>,
    requests: AtomicU64,
    pub(crate) random: Random,
    pub(crate) call_timeout: Duration,
}

impl Transport {
    pub(crate) fn open(config: &CouchConfig) -> Result<Arc<Self>> {
        let endpoint = Endpoint::new(config)?;
        if config.call_timeout.is_zero() {
            return Err(Error::Config {
                setting: "call_timeout",
                reason: "it is zero: no call could succeed; 5 s is usual".to_owned(),
            });
        }
        // Fails only if the program has installed a provider, which is then used.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = couch_rs::Client::new_with_timeout(endpoint.url.as_str(), None, None, None)
            .map_err(|cause| Error::Config {
            setting: "url",
            reason: format!("no client can be made for it: {cause}"),
        })?;
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(config.call_timeout)
            .pool_max_idle_per_host(config.idle_connections)
            .pool_idle_timeout(Duration::from_secs(60))
            .tcp_nodelay(true)
            .build()
            .map_err(|cause| Error::Config {
                setting: "url",
                reason: format!("no client can be made for it: {cause}"),
            })?;
        Ok(Arc::new(Self {
            builder,
            client,
            credentials: endpoint.credentials,
            requests: AtomicU64::new(0),
            random: Random::new(config.seed),
            call_timeout: config.call_timeout,
        }))
    }

    /// How many requests have been sent so far, repeats included.
    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Sends a request once and reads the response, whatever its status. A request that was refused with
    /// 401 had no effect, so it is sent again with the next password of the keyring.
    pub(crate) fn send_within<'a>(
        &'a self,
        request: &'a Request<'_>,
        within: Duration,
    ) -> BoxFuture<'a, Result<Response>> {
        // Boxed, so that the HTTP client is compiled in this crate, once: a plain future is compiled again in each
        // crate that awaits it.
        Box::pin(self.send_traced(request, within))
    }

    async fn send_traced(&self, request: &Request<'_>, within: Duration) -> Result<Response> {
        let begun = Instant::now();
        // Calls outside of a trace (feeds, background work) would flood the trace collector.
        let span = if tracing::Span::current().is_none() {
            tracing::Span::none()
        } else {
            tracing::info_span!(
                "database call",
                otel.name = request.call.verb(),
                otel.kind = "client"
            )
        };
        let sending = self.send_with_credentials(request).instrument(span);
        let response = tokio::time::timeout(within, sending)
            .await
            .unwrap_or_else(|_| {
                Err(Error::Timeout {
                    call: request.call.clone(),
                    after: within,
                })
            });
        let took = begun.elapsed();
        tracing::debug!(
            call = %request.call,
            status = response.as_ref().ok().map(|it| it.status.as_u16()),
            ?took,
            "database call"
        );
        let labels = [
            ("call", request.call.verb()),
            ("outcome", outcome_label(&response)),
        ];
        metrics::counter!("hamlet_database_calls_total", &labels).increment(1);
        metrics::histogram!("hamlet_database_call_duration_seconds", &labels).record(took);
        response
    }

    async fn send_with_credentials(&self, request: &Request<'_>) -> Result<Response> {
        let Some(credentials) = &self.credentials else {
            return self.send(request, None).await;
        };
        let mut tried = Vec::new();
        let mut refusal = None;
        while let Some(password) = credentials.next(&tried) {
            let header = credentials.header(&password)?;
            let response = self.send(request, Some(header)).await?;
            if response.status != StatusCode::UNAUTHORIZED {
                credentials.record_accepted(&password, &tried);
                return Ok(response);
            }
            tried.push(password);
            refusal = Some(response);
        }
        match refusal {
            Some(response) => Ok(response),
            // Unreachable: a keyring is never empty.
            None => self.send(request, None).await,
        }
    }

    async fn send(
        &self,
        request: &Request<'_>,
        authorization: Option<HeaderValue>,
    ) -> Result<Response> {
        let call = request.call;
        let unavailable = |source: reqwest::Error| Error::Unavailable {
            call: call.clone(),
            unsent: source.is_connect() || source.is_builder(),
            // The URL contains document ids.
            source: Box::new(source.without_url()),
        };
        let mut http_request = self
            .builder
            .req(request.method.clone(), &request.path, None)
            .build()
            .map_err(unavailable)?;
        if !request.query.is_empty() {
            http_request.url_mut().query_pairs_mut().extend_pairs(
                request
                    .query
                    .iter()
                    .map(|(name, value)| (*name, value.as_str())),
            );
        }
        let headers = http_request.headers_mut();
        headers.remove(REFERER);
        // Without this header CouchDB answers `open_revs` as multipart.
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        if let Some(authorization) = authorization {
            headers.insert(AUTHORIZATION, authorization);
        }
        if let Some(body) = &request.body {
            *http_request.body_mut() = Some(body.clone().into());
        }
        self.requests.fetch_add(1, Ordering::Relaxed);
        let mut http_response = self
            .client
            .execute(http_request)
            .await
            .map_err(unavailable)?;
        let status = http_response.status();
        let mut body = Vec::new();
        while let Some(chunk) = http_response.chunk().await.map_err(unavailable)? {
            if body.len() + chunk.len() > MAX_RESPONSE_BYTES {
                return Err(Error::Corrupt {
                    call: call.clone(),
                    detail: format!("it is larger than {MAX_RESPONSE_BYTES} bytes"),
                    source: None,
                });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Response { status, body })
    }

    /// Sends once, within the call timeout. For calls that only the caller may repeat.
    pub(crate) async fn send_once(&self, request: &Request<'_>) -> Result<Response> {
        self.send_within(request, self.call_timeout).await
    }

    /// Sends an idempotent request, and again after a transient failure. All attempts together take no
    /// longer than the call timeout.
    pub(crate) fn send_idempotent<'a>(
        &'a self,
        request: &'a Request<'_>,
    ) -> BoxFuture<'a, Result<Response>> {
        Box::pin(self.repeat(request))
    }

    async fn repeat(&self, request: &Request<'_>) -> Result<Response> {
        let within = self.call_timeout;
        let deadline = Instant::now() + within;
        let mut attempt = 0;
        loop {
            attempt += 1;
            let left = deadline.saturating_duration_since(Instant::now());
            let outcome = self.send_traced(request, left).await;
            let transient = match &outcome {
                Ok(response) => {
                    response.status.is_server_error()
                        && response.to_error(request.call).is_retryable()
                        || response.status == StatusCode::TOO_MANY_REQUESTS
                }
                Err(error) => matches!(error, Error::Unavailable { .. } | Error::Corrupt { .. }),
            };
            let pause = self.random.backoff(attempt, Duration::from_secs(1));
            if !transient || attempt >= MAX_ATTEMPTS || Instant::now() + pause >= deadline {
                return match outcome {
                    // The error names the configured limit, not what was left of it.
                    Err(Error::Timeout { call, .. }) => Err(Error::Timeout {
                        call,
                        after: within,
                    }),
                    other => other,
                };
            }
            tokio::time::sleep(pause).await;
        }
    }
}

/// The `outcome` label of the metrics.
fn outcome_label(response: &Result<Response>) -> &'static str {
    match response {
        Ok(response) => match response.status.as_u16() {
            202 => "accepted",
            200..=399 => "ok",
            401 | 403 => "unauthorized",
            404 => "missing",
            409 | 412 => "conflict",
            400..=499 => "refused",
            _ => "failed",
        },
        Err(Error::Timeout { .. }) => "timeout",
        Err(Error::Unavailable { .. }) => "unreachable",
        Err(_) => "corrupt",
    }
}
