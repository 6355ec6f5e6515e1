//! The connection to the admin door.

use std::time::Duration;

use http::Uri;
use tonic::{
    Request, Status,
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
            .http2_keep_alive_interval(Duration::from_secs(2))
            .keep_alive_timeout(Duration::from_secs(2))
            .keep_alive_while_idle(true))
    }

    async fn connect(&self, endpoint: Endpoint) -> Result<Door, Failure> {
        let channel = endpoint.connect().await.map_err(|_| {
            Failure::Unavailable(format!("cannot reach {}; is it running?", self.server.url))
        })?;
        Ok(InterceptedService::new(channel, self.bearer.clone()))
    }
}
