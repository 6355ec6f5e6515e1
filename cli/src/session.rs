//! The connection to the admin door, and calls that outlast a short loss of it.
//!
//! Every call this program makes may be repeated: reads by their nature, changes by their `request_id`.

use std::{error::Error as _, time::Duration};

use http::Uri;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tonic::{
    Code, Request, Response, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};

use crate::{
    args::Cli,
    discovery::{self, Server},
    failure::Failure,
    values::domain,
};

/// How long a connection may take to open.
const CONNECT: Duration = Duration::from_secs(2);
/// A server that says nothing for this long is asked whether it is there, and is lost when it says nothing for as
/// long again. Twice this and [`PATIENCE`] stay below the promised five seconds.
const SILENCE: Duration = Duration::from_secs(1);
/// How long a lost server is looked for.
pub(crate) const PATIENCE: Duration = Duration::from_millis(2500);
/// The pause between two looks.
pub(crate) const PAUSE: Duration = Duration::from_millis(100);
/// How long a server that is there may take to answer.
const ANSWER: Duration = Duration::from_secs(60);

/// The admin door with the credential in hand.
#[derive(Debug)]
pub(crate) struct Session {
    server: Server,
    bearer: Bearer,
}

/// A way through the door.
pub(crate) type Door = InterceptedService<Channel, Bearer>;

/// Sends the credential along.
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
    pub(crate) fn find(cli: &Cli) -> Result<Self, Failure> {
        let server = discovery::find(cli.server.as_deref(), cli.credential_file.as_deref())?;
        let mut bearer: MetadataValue<Ascii> = format!("Bearer {}", server.credential.expose())
            .parse()
            .map_err(|_| {
                Failure::Usage(
                    "the admin credential may hold printable ASCII characters only".to_owned(),
                )
            })?;
        bearer.set_sensitive(true);
        Ok(Self {
            server,
            bearer: Bearer(bearer),
        })
    }

    /// The server's address.
    pub(crate) fn url(&self) -> &str {
        &self.server.url
    }

    /// A connection for calls that are for no instance.
    pub(crate) async fn door(&self) -> Result<Door, Failure> {
        self.connect(self.endpoint()?).await
    }

    /// A connection for calls that are for one instance: its domain is the `:authority`.
    pub(crate) async fn door_of(&self, instance: &str) -> Result<Door, Failure> {
        let origin: Uri = domain::origin(instance).map_err(Failure::Usage)?;
        self.connect(self.endpoint()?.origin(origin)).await
    }

    fn endpoint(&self) -> Result<Endpoint, Failure> {
        let endpoint = Endpoint::from_shared(self.server.url.clone()).map_err(|_| {
            Failure::Usage(format!(
                "--server: {} is no address; it looks like http://127.0.0.1:6060",
                self.server.url
            ))
        })?;
        Ok(endpoint
            .connect_timeout(CONNECT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(SILENCE)
            .keep_alive_timeout(SILENCE))
    }

    async fn connect(&self, endpoint: Endpoint) -> Result<Door, Failure> {
        let unreachable = |why: &str| {
            Failure::Unavailable(format!(
                "cannot reach {}: {why}; is it running?",
                self.server.url
            ))
        };
        let channel = timeout(CONNECT, endpoint.connect())
            .await
            .map_err(|_| unreachable("it does not answer"))?
            .map_err(|error| unreachable(&innermost(&error)))?;
        Ok(InterceptedService::new(channel, self.bearer.clone()))
    }

    /// Makes a call, and makes it again when the server is lost, until it answers or [`PATIENCE`] ends.
    ///
    /// # Errors
    /// What the server answers; [`Failure::Unavailable`] when it stays lost.
    pub(crate) async fn ask<T>(
        &self,
        call: impl AsyncFn() -> Result<Response<T>, Status>,
    ) -> Result<T, Failure> {
        let mut until = Instant::now() + ANSWER;
        let mut lost = None;
        loop {
            match timeout_at(until, call()).await {
                Ok(Ok(response)) => return Ok(response.into_inner()),
                Ok(Err(status)) if is_lost(&status) => {
                    if lost.is_none() {
                        until = Instant::now() + PATIENCE;
                    }
                    lost = Some(status);
                    if Instant::now() + PAUSE >= until {
                        break;
                    }
                    sleep(PAUSE).await;
                }
                Ok(Err(status)) => return Err(self.refused(status)),
                Err(_) => break,
            }
        }
        Err(Failure::Unavailable(match lost {
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
                ANSWER.as_secs()
            ),
        }))
    }

    /// A stream that broke off. It is not begun again: its first part would be printed twice.
    pub(crate) fn broken_off(&self, status: Status, what: &str) -> Failure {
        if is_lost(&status) {
            return Failure::Unavailable(format!(
                "lost the server at {} in the middle of the {what}; ask again",
                self.url()
            ));
        }
        self.refused(status)
    }

    /// A refusal of the server, with what only this side knows.
    pub(crate) fn refused(&self, status: Status) -> Failure {
        if status.code() != Code::Unauthenticated {
            return status.into();
        }
        Failure::NotAllowed(format!(
            "{} refuses the credential of {}: {}",
            self.server.url,
            self.server.credential_file.display(),
            status.message()
        ))
    }
}

/// Whether a status says that the server, or what is behind it, is out of reach for now.
pub(crate) fn is_lost(status: &Status) -> bool {
    match status.code() {
        Code::Unavailable | Code::Cancelled => true,
        // It is our own when it has a cause: the connection broke in the middle.
        Code::Unknown | Code::Internal => status.source().is_some(),
        _ => false,
    }
}

/// What is at the bottom of an error: `connection refused`, where the error says `transport error`.
fn innermost<'a>(error: &'a (dyn std::error::Error + 'static)) -> String {
    let mut error: &'a (dyn std::error::Error + 'static) = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
