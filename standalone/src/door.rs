//! A client of the installation's own admin door.

use std::{net::SocketAddr, time::Duration};

use hamlet_proto::hamlet::instance::v1::{
    CountInstancesRequest, instance_service_client::InstanceServiceClient,
};
use service_kit::{health::reachable, secret::Keyring, unchecked};
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::interceptor::InterceptedService,
    transport::{Channel, Endpoint},
};

/// The timeout of one readiness check.
const LOOK: Duration = Duration::from_secs(2);
/// The pause between two readiness checks.
const PAUSE: Duration = Duration::from_millis(10);

/// A gRPC channel to the admin door.
pub(crate) type Door = InterceptedService<Channel, Bearer>;

/// Adds the admin credential to each call.
#[derive(Clone, Debug)]
pub(crate) struct Bearer(Keyring);

impl Bearer {
    fn header(&self) -> Option<MetadataValue<Ascii>> {
        let mut header: MetadataValue<Ascii> = format!("Bearer {}", self.0.current().expose())
            .parse()
            .ok()?;
        header.set_sensitive(true);
        Some(header)
    }
}

impl tonic::service::Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let header = self
            .header()
            .ok_or_else(|| Status::internal("the admin credential cannot stand in a header"))?;
        request.metadata_mut().insert("authorization", header);
        Ok(request)
    }
}

/// Why the client cannot be created.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The address is not valid.
    #[error("the admin door cannot be addressed: {0}")]
    Address(#[from] tonic::transport::Error),
    /// The credential contains characters that a header must not contain.
    #[error("admin-credential: may hold printable ASCII characters only")]
    Credential,
}

/// A client of the admin door at `address`, which speaks TLS if `has_certificates`. It connects at the first call.
///
/// The certificates need not name this machine, and are not looked at: this process holds the listener, so that nobody
/// else answers at the address.
///
/// # Errors
/// [`Error::Credential`] when the credential is not valid in a header.
pub(crate) fn open(
    address: SocketAddr,
    credential: &Keyring,
    has_certificates: bool,
) -> Result<Door, Error> {
    let bearer = Bearer(credential.clone());
    bearer.header().ok_or(Error::Credential)?;
    let channel = if has_certificates {
        unchecked::channel(reachable(address))?
    } else {
        Endpoint::from_shared(format!("http://{address}"))?
            .connect_timeout(Duration::from_secs(5))
            .connect_lazy()
    };
    Ok(InterceptedService::new(channel, bearer))
}

/// Waits until a call succeeds through the whole chain: gateway, instance service, database.
pub(crate) async fn wait_until_open(door: &Door) {
    loop {
        let mut request = Request::new(CountInstancesRequest {});
        request.set_timeout(LOOK);
        match InstanceServiceClient::new(door.clone())
            .count_instances(request)
            .await
        {
            Ok(_) => return,
            Err(status) => {
                tracing::debug!(code = %status.code(), error = status.message(), "the admin door is not ready yet");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}
