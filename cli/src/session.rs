//! The connection to the admin door, and calls that are repeated when the connection is lost for a moment.
//!
//! Every call of this program can be repeated: reads by their nature, changes by their `request_id`.

use std::{error::Error as _, time::Duration};

use hamlet_proto::hamlet::instance::v1::{
    CountInstancesRequest, instance_service_client::InstanceServiceClient,
};
use http::Uri;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tonic::{
    Code, Request, Response, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};
use tonic_types::StatusExt as _;

use crate::{
    discovery::{self, Server},
    error::CommandError,
    flags::global::GlobalFlags,
    output::text::clean,
    socket::{Connector, Mismatch},
    values::domain,
    waiting,
};

/// How long a connection may take to open.
const CONNECT: Duration = Duration::from_secs(2);
/// A server that is silent for this long is sent a ping, and is lost when it is silent for as long again. Twice this
/// and [`RECONNECT_WITHIN`] are together below the promised five seconds.
const PING_AFTER: Duration = Duration::from_secs(1);
/// For how long calls to a lost server are repeated.
pub(crate) const RECONNECT_WITHIN: Duration = Duration::from_millis(2500);
/// The pause between two tries.
pub(crate) const RETRY_PAUSE: Duration = Duration::from_millis(100);
/// How long an answer may take while the connection is up.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// A server and the credential for it.
#[derive(Debug)]
pub(crate) struct Session {
    server: Server,
    url: Uri,
    connector: Connector,
    bearer: Bearer,
}

/// A connection to the admin door. Every call on it carries the credential.
pub(crate) type AdminChannel = InterceptedService<Channel, Bearer>;

/// Adds the credential to a call.
#[derive(Clone, Debug)]
pub(crate) struct Bearer(MetadataValue<Ascii>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request
            .metadata_mut()
            .insert("authorization", self.0.clone());
        Ok(request)
    }
}

impl Session {
    /// Finds the server and the credential. Nothing is sent yet.
    ///
    /// # Errors
    /// As [`discovery::find`]; or the credential is not printable ASCII.
    pub(crate) fn find(flags: &GlobalFlags) -> Result<Self, CommandError> {
        let server = discovery::find(flags)?;
        let mut bearer: MetadataValue<Ascii> = format!("Bearer {}", server.credential.expose())
            .parse()
            .map_err(|_| {
                CommandError::Usage(
                    "the admin credential may hold printable ASCII characters only".to_owned(),
                )
            })?;
        bearer.set_sensitive(true);
        let url: Uri = server.url.parse().map_err(|_| {
            CommandError::Usage(format!(
                "{}: {} is no address; it looks like http://127.0.0.1:6060",
                server.named_by, server.url
            ))
        })?;
        Ok(Self {
            connector: Connector::new(&url, server.authorities.as_ref(), CONNECT)?,
            url,
            server,
            bearer: Bearer(bearer),
        })
    }

    /// The server's address.
    pub(crate) fn url(&self) -> &str {
        &self.server.url
    }

    /// The version of the server.
    ///
    /// # Errors
    /// When it cannot be reached, or does not tell.
    pub(crate) async fn server_version(&self) -> Result<String, CommandError> {
        let channel = self.channel().await?;
        let answer = self
            .call(async || {
                InstanceServiceClient::new(channel.clone())
                    .count_instances(CountInstancesRequest {})
                    .await
            })
            .await?;
        Ok(answer.server_version)
    }

    /// A connection for calls that are not routed by an instance.
    pub(crate) async fn channel(&self) -> Result<AdminChannel, CommandError> {
        self.connect(self.endpoint()).await
    }

    /// A connection for calls that are routed by an instance: its domain is their `:authority`.
    pub(crate) async fn channel_of(&self, instance: &str) -> Result<AdminChannel, CommandError> {
        let scheme = self.url.scheme_str().unwrap_or("http");
        let origin: Uri = domain::origin(scheme, instance).map_err(CommandError::Usage)?;
        self.connect(self.endpoint().origin(origin)).await
    }

    fn endpoint(&self) -> Endpoint {
        // The connector makes TLS, and knows the server. What tonic is told stands in the heads of calls only.
        Endpoint::from_static("http://admin-door")
            .origin(self.url.clone())
            .connect_timeout(CONNECT)
            .http2_keep_alive_interval(PING_AFTER)
            .keep_alive_timeout(PING_AFTER)
    }

    async fn connect(&self, endpoint: Endpoint) -> Result<AdminChannel, CommandError> {
        let unreachable = |why: &str| {
            CommandError::Unavailable(format!(
                "cannot reach {}: {why}; is it running?",
                self.server.url
            ))
        };
        let connector = self.connector.clone();
        let connecting = endpoint
            .connect_with_connector(tower::service_fn(move |_| connector.clone().connect()));
        let channel = timeout(CONNECT, connecting)
            .await
            .map_err(|_| unreachable("it does not answer"))?
            .map_err(|error| {
                self.mismatch()
                    .unwrap_or_else(|| unreachable(&innermost(&error)))
            })?;
        Ok(InterceptedService::new(channel, self.bearer.clone()))
    }

    /// Makes a call, and repeats it while the server is lost, for [`RECONNECT_WITHIN`] at most. A terminal shows that it
    /// takes long.
    ///
    /// # Errors
    /// The server's own error; [`CommandError::Unavailable`] when it stays lost, or does not answer in time.
    pub(crate) async fn call<T>(
        &self,
        method: impl AsyncFn() -> Result<Response<T>, Status>,
    ) -> Result<T, CommandError> {
        let waits = format!("waiting for {}", self.server.url);
        self.call_for(&waits, method).await
    }

    /// As [`Self::call`], with what is shown while it takes long.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub(crate) async fn call_for<T>(
        &self,
        what: &str,
        method: impl AsyncFn() -> Result<Response<T>, Status>,
    ) -> Result<T, CommandError> {
        waiting::shown(&clean(what), self.call_unseen(method)).await
    }

    async fn call_unseen<T>(
        &self,
        method: impl AsyncFn() -> Result<Response<T>, Status>,
    ) -> Result<T, CommandError> {
        let mut until = Instant::now() + ANSWER_WITHIN;
        let mut lost = None;
        loop {
            match timeout_at(until, method()).await {
                Ok(Ok(response)) => return Ok(response.into_inner()),
                Ok(Err(status)) if is_lost(&status) => {
                    if let Some(error) = self.mismatch() {
                        return Err(error);
                    }
                    if lost.is_none() {
                        until = Instant::now() + RECONNECT_WITHIN;
                    }
                    lost = Some(status);
                    if Instant::now() + RETRY_PAUSE >= until {
                        break;
                    }
                    sleep(RETRY_PAUSE).await;
                }
                Ok(Err(status)) => return Err(self.status_error(status)),
                Err(_) => break,
            }
        }
        Err(CommandError::Unavailable(match lost {
            // The server answers, and says what is out of reach.
            Some(status) if status.get_details_error_info().is_some() => {
                return Err(self.status_error(status));
            }
            Some(status) => format!(
                "{} does not answer: {}",
                self.server.url,
                status
                    .source()
                    .map_or_else(|| status.message().to_owned(), innermost)
            ),
            None => format!(
                "{} has not answered for {} s",
                self.server.url,
                ANSWER_WITHIN.as_secs()
            ),
        }))
    }

    /// The error about a server that is not the one that was named. It begins with the setting that would mend it.
    fn mismatch(&self) -> Option<CommandError> {
        let mismatch = self.connector.mismatch()?;
        let (by, url) = (&self.server.named_by, &self.server.url);
        let authority = self.url.authority().map_or("", |it| it.as_str());
        let host = self.url.host().unwrap_or_default();
        Some(CommandError::Usage(match mismatch {
            Mismatch::SpeaksTls => format!(
                "{by}: {url} speaks TLS; name it as https://{authority}, by a host of its certificate"
            ),
            Mismatch::SpeaksHttp1 => format!(
                "{by}: {url} answers in HTTP/1.1, and an admin door in HTTP/2; name it as https://{authority} if it \
                 speaks TLS"
            ),
            Mismatch::SpeaksNoTls => format!(
                "{by}: {url} speaks no TLS; name it as http://{authority} if nobody can listen on the way to it: the \
                 credential would travel unencrypted"
            ),
            Mismatch::SpeaksNoHttp2 => format!(
                "{by}: {url} speaks no HTTP/2 over TLS; name the admin door, or a proxy that forwards HTTP/2 to it"
            ),
            Mismatch::OfOtherAuthority => self
                .server
                .authorities
                .as_ref()
                .map(|authorities| authorities.issued_by_none(url))
                .unwrap_or_default(),
            Mismatch::OfOtherHosts(hosts) if hosts.is_empty() => format!(
                "{by}: {url} has no certificate for {host}; name the server by a host of its certificate"
            ),
            Mismatch::OfOtherHosts(hosts) => format!(
                "{by}: the certificate of {url} is not for {host}; name the server by a host of its certificate: {}",
                hosts.join(", ")
            ),
            Mismatch::Uncertified(why) => {
                return Some(CommandError::Unavailable(format!(
                    "cannot reach {url}: its certificate does not count: {why}"
                )));
            }
        }))
    }

    /// The error for a stream that broke off. It is not repeated: its first part would be printed twice.
    pub(crate) fn stream_error(&self, status: Status, what: &str) -> CommandError {
        if is_lost(&status) {
            return CommandError::Unavailable(format!(
                "lost the server at {} in the middle of the {what}; ask again",
                self.url()
            ));
        }
        self.status_error(status)
    }

    /// The error for a status of the server. One about the credential names the file that it is from.
    pub(crate) fn status_error(&self, status: Status) -> CommandError {
        if status.code() != Code::Unauthenticated {
            return status.into();
        }
        CommandError::NotAllowed(format!(
            "{} refuses the credential of {}: {}",
            self.server.url,
            self.server.credential_file.display(),
            status.message()
        ))
    }
}

/// Whether a status means that the server, or a service behind it, cannot be reached at the moment.
pub(crate) fn is_lost(status: &Status) -> bool {
    match status.code() {
        Code::Unavailable | Code::Cancelled => true,
        // A status with a source was made on this side: the connection broke during the call.
        Code::Unknown | Code::Internal => status.source().is_some(),
        _ => false,
    }
}

/// The innermost cause of an error: `connection refused` of a `transport error`.
fn innermost<'a>(error: &'a (dyn std::error::Error + 'static)) -> String {
    let mut error: &'a (dyn std::error::Error + 'static) = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
