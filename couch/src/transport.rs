//! One HTTP call: formed by `couch_rs`, carried out within a deadline, its answer read whole.
//!
//! `couch_rs` builds its own HTTP client, which can be told neither to ignore the proxies of the
//! environment, nor how many connections to keep, nor to hide the credentials from `Debug`; and
//! its calls keep only half of what CouchDB says of a failure. So `couch_rs` forms the requests
//! (without credentials), and a client of our own sends them.

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
use crate::pause::Dice;

/// The largest answer that is read, in bytes: a page of large documents, with room to spare.
const LARGEST_ANSWER: usize = 256 << 20;

/// How often a call that may be repeated is made.
const ATTEMPTS: u32 = 5;

/// What is sent.
pub(crate) struct Outgoing<'a> {
    pub(crate) call: &'a Call,
    pub(crate) method: Method,
    /// Encoded, without the leading slash.
    pub(crate) path: String,
    pub(crate) query: Vec<(&'static str, String)>,
    pub(crate) body: Option<Vec<u8>>,
}

impl<'a> Outgoing<'a> {
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

/// What came back, whatever its status.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json<T: DeserializeOwned>(&self, call: &Call) -> Result<T> {
        serde_json::from_slice(&self.body).map_err(|source| Error::Corrupt {
            call: call.clone(),
            detail: "it is not the JSON that belongs to the call".to_owned(),
            source: Some(source),
        })
    }

    /// CouchDB's `error` and `reason`; empty where the answer has none.
    pub(crate) fn complaint(&self) -> (String, String) {
        let body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        let member = |name| {
            body.get(name)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        (member("error"), member("reason"))
    }

    /// Whether this is the 404 of a database, rather than of a document in it.
    pub(crate) fn is_database_missing(&self) -> bool {
        self.status == StatusCode::NOT_FOUND
            && self.complaint().1.starts_with("Database does not exist")
    }

    /// The error that an answer stands for which the call has no use for.
    pub(crate) fn refusal(&self, call: &Call) -> Error {
        let call = call.clone();
        let (error, reason) = self.complaint();
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

    /// The answer, if it is a success.
    pub(crate) fn success(self, call: &Call) -> Result<Self> {
        if self.status.is_success() {
            Ok(self)
        } else {
            Err(self.refusal(call))
        }
    }
}

pub(crate) struct Transport {
    /// Forms requests. It holds no credentials and never sends anything.
    former: couch_rs::Client,
    sender: reqwest::Client,
    credentials: Option<Credentials>,
    requests: AtomicU64,
    pub(crate) dice: Dice,
    pub(crate) call_timeout: Duration,
}

impl Transport {
    pub(crate) fn open(config: &CouchConfig) -> Result<Arc<Self>> {
        let endpoint = Endpoint::of(config)?;
        if config.call_timeout.is_zero() {
            return Err(Error::Config {
                setting: "call_timeout",
                reason: "it is zero: no call could succeed; 5 s is usual".to_owned(),
            });
        }
        // Fails only when a provider is installed already, and then that one is meant to be used.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let former = couch_rs::Client::new_with_timeout(endpoint.url.as_str(), None, None, None)
            .map_err(|cause| Error::Config {
                setting: "url",
                reason: format!("no client can be made for it: {cause}"),
            })?;
        let sender = reqwest::Client::builder()
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
            former,
            sender,
            credentials: endpoint.credentials,
            requests: AtomicU64::new(0),
            dice: Dice::new(config.seed),
            call_timeout: config.call_timeout,
        }))
    }

    /// How many requests have been sent so far, repeats included.
    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Sends once, and reads the answer whatever its status. What was refused for its password was not
    /// done, so it is sent again where another password may be right.
    pub(crate) fn once<'a>(
        &'a self,
        outgoing: &'a Outgoing<'_>,
        within: Duration,
    ) -> BoxFuture<'a, Result<Answer>> {
        // Boxed, so that the HTTP client is compiled in this crate, once: a plain future is compiled again in each
        // crate that awaits it.
        Box::pin(self.send(outgoing, within))
    }

    async fn send(&self, outgoing: &Outgoing<'_>, within: Duration) -> Result<Answer> {
        let begun = Instant::now();
        // Only what belongs to something is traced; feeds and chores would fill a collector.
        let span = if tracing::Span::current().is_none() {
            tracing::Span::none()
        } else {
            tracing::info_span!(
                "database call",
                otel.name = outgoing.call.verb(),
                otel.kind = "client"
            )
        };
        let exchange = self.authorized(outgoing).instrument(span);
        let answer = tokio::time::timeout(within, exchange)
            .await
            .unwrap_or_else(|_| {
                Err(Error::Timeout {
                    call: outgoing.call.clone(),
                    after: within,
                })
            });
        let took = begun.elapsed();
        tracing::debug!(
            call = %outgoing.call,
            status = answer.as_ref().ok().map(|it| it.status.as_u16()),
            ?took,
            "database call"
        );
        let labels = [
            ("call", outgoing.call.verb()),
            ("outcome", outcome(&answer)),
        ];
        metrics::counter!("hamlet_database_calls_total", &labels).increment(1);
        metrics::histogram!("hamlet_database_call_duration_seconds", &labels).record(took);
        answer
    }

    async fn authorized(&self, outgoing: &Outgoing<'_>) -> Result<Answer> {
        let Some(credentials) = &self.credentials else {
            return self.exchange(outgoing, None).await;
        };
        let mut tried = Vec::new();
        let mut refusal = None;
        while let Some(password) = credentials.next(&tried) {
            let header = credentials.header(&password)?;
            let answer = self.exchange(outgoing, Some(header)).await?;
            if answer.status != StatusCode::UNAUTHORIZED {
                credentials.accepted(&password, &tried);
                return Ok(answer);
            }
            tried.push(password);
            refusal = Some(answer);
        }
        match refusal {
            Some(answer) => Ok(answer),
            // A keyring holds one at least.
            None => self.exchange(outgoing, None).await,
        }
    }

    async fn exchange(
        &self,
        outgoing: &Outgoing<'_>,
        authorization: Option<HeaderValue>,
    ) -> Result<Answer> {
        let call = outgoing.call;
        let unavailable = |source: reqwest::Error| Error::Unavailable {
            call: call.clone(),
            unsent: source.is_connect() || source.is_builder(),
            // The address may hold document ids.
            source: Box::new(source.without_url()),
        };
        let mut request = self
            .former
            .req(outgoing.method.clone(), &outgoing.path, None)
            .build()
            .map_err(unavailable)?;
        if !outgoing.query.is_empty() {
            request.url_mut().query_pairs_mut().extend_pairs(
                outgoing
                    .query
                    .iter()
                    .map(|(name, value)| (*name, value.as_str())),
            );
        }
        let headers = request.headers_mut();
        headers.remove(REFERER);
        // Without it `open_revs` is answered as multipart.
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        if let Some(authorization) = authorization {
            headers.insert(AUTHORIZATION, authorization);
        }
        if let Some(body) = &outgoing.body {
            *request.body_mut() = Some(body.clone().into());
        }
        self.requests.fetch_add(1, Ordering::Relaxed);
        let mut response = self.sender.execute(request).await.map_err(unavailable)?;
        let status = response.status();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unavailable)? {
            if body.len() + chunk.len() > LARGEST_ANSWER {
                return Err(Error::Corrupt {
                    call: call.clone(),
                    detail: format!("it is larger than {LARGEST_ANSWER} bytes"),
                    source: None,
                });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { status, body })
    }

    /// Sends once, within the call timeout. For writes whose repetition is the caller's business.
    pub(crate) async fn write(&self, outgoing: &Outgoing<'_>) -> Result<Answer> {
        self.once(outgoing, self.call_timeout).await
    }

    /// Sends something that may be repeated without harm, until it is answered with something that
    /// a repeat would not change. All attempts together take no longer than the call timeout.
    pub(crate) async fn repeatable(&self, outgoing: &Outgoing<'_>) -> Result<Answer> {
        self.repeatable_within(outgoing, self.call_timeout).await
    }

    pub(crate) fn repeatable_within<'a>(
        &'a self,
        outgoing: &'a Outgoing<'_>,
        within: Duration,
    ) -> BoxFuture<'a, Result<Answer>> {
        Box::pin(self.repeat(outgoing, within))
    }

    async fn repeat(&self, outgoing: &Outgoing<'_>, within: Duration) -> Result<Answer> {
        let deadline = Instant::now() + within;
        let mut attempt = 0;
        loop {
            attempt += 1;
            let left = deadline.saturating_duration_since(Instant::now());
            let outcome = self.send(outgoing, left).await;
            let transient = match &outcome {
                Ok(answer) => {
                    answer.status.is_server_error() && answer.refusal(outgoing.call).is_retryable()
                        || answer.status == StatusCode::TOO_MANY_REQUESTS
                }
                Err(error) => matches!(error, Error::Unavailable { .. } | Error::Corrupt { .. }),
            };
            let pause = self.dice.backoff(attempt, Duration::from_secs(1));
            if !transient || attempt >= ATTEMPTS || Instant::now() + pause >= deadline {
                return match outcome {
                    // The time left is an odd number; people know the whole.
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

/// How a call ended, in few words: what metrics tell apart.
fn outcome(answer: &Result<Answer>) -> &'static str {
    match answer {
        Ok(answer) => match answer.status.as_u16() {
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
