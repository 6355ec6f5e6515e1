//! The client of `TenantService`: register tokens and the first passphrase of an instance.

use std::time::Duration;

use hamlet_proto::hamlet::instance::v1::{
    CheckRegisterTokenRequest, PassphraseParameters, RegisterPassphraseRequest,
    tenant_service_client::TenantServiceClient,
};
use http::HeaderMap;
use service_kit::{
    caller::{AttachKey, TENANT_HEADER},
    peer::{self, Peer},
    secret::Keyring,
    status::{self, reasons},
};
use tonic::{
    Code, Extensions, Request, Status, metadata::MetadataMap,
    service::interceptor::InterceptedService,
};

use crate::{directory::HostEntry, route::Service, seldom::Seldom, services::Services};

/// How long checking a token may take.
const CHECK_WITHIN: Duration = Duration::from_secs(5);
/// How long setting a passphrase may take: hashing is slow on purpose, and may wait in a queue.
const REGISTER_WITHIN: Duration = Duration::from_secs(60);

static FAILED: Seldom = Seldom::new();

/// Why a register token is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DeadToken {
    /// It is not made of hex digits.
    Malformed,
    /// It is not the one of the instance.
    Wrong,
    /// The passphrase has been chosen already.
    Used,
    /// It has expired.
    Expired,
}

/// Why a call to the instance service failed.
#[derive(Debug)]
pub(crate) enum TenantError {
    Token(DeadToken),
    /// A field is wrong: its name in the contract, and what is wrong with it.
    Field(String, String),
    /// The passphrase is too easy to guess: what is wrong with it.
    Weak(String),
    /// It cannot be reached, or failed otherwise.
    OutOfReach,
}

impl From<Status> for TenantError {
    fn from(refused: Status) -> Self {
        use tonic_types::StatusExt as _;
        let reason = status::reason(&refused);
        let is_weak = reason.as_deref() == Some(reasons::PASSPHRASE_WEAK);
        match reason.as_deref() {
            Some(reasons::REGISTER_TOKEN_WRONG) => return Self::Token(DeadToken::Wrong),
            Some(reasons::REGISTER_TOKEN_USED) => return Self::Token(DeadToken::Used),
            Some(reasons::REGISTER_TOKEN_EXPIRED) => return Self::Token(DeadToken::Expired),
            _ => {}
        }
        let violation = refused
            .get_details_bad_request()
            .and_then(|wrong| wrong.field_violations.into_iter().next());
        match violation {
            Some(wrong) if wrong.field == "register_token" => Self::Token(DeadToken::Malformed),
            Some(wrong) if is_weak => Self::Weak(wrong.description),
            Some(wrong) => Self::Field(wrong.field, wrong.description),
            None => {
                if refused.code() != Code::NotFound
                    && let Some(unseen) = FAILED.now()
                {
                    tracing::warn!(
                        code = %refused.code(),
                        message = refused.message(),
                        unseen,
                        "the instance service could not be asked"
                    );
                }
                Self::OutOfReach
            }
        }
    }
}

/// The client.
pub(crate) struct Tenants(TenantServiceClient<Peer>);

impl Tenants {
    pub(crate) fn new(services: &Services, key: &Keyring) -> Result<Self, peer::Error> {
        let attach = AttachKey::new(key).ok_or(peer::Error::Key)?;
        let channel = services.channel(Service::Instances);
        let peer = InterceptedService::new(channel, attach);
        Ok(Self(TenantServiceClient::new(peer)))
    }

    /// Checks a token. Returns what a browser needs to hash the passphrase.
    pub(crate) async fn check(
        &self,
        entry: &HostEntry,
        token: &str,
    ) -> Result<PassphraseParameters, TenantError> {
        let asked = CheckRegisterTokenRequest {
            register_token: token.to_owned(),
        };
        let asked = within(CHECK_WITHIN, for_tenant(asked, entry));
        Ok(self
            .0
            .clone()
            .check_register_token(asked)
            .await?
            .into_inner())
    }

    /// Sets the first passphrase.
    pub(crate) async fn register(
        &self,
        entry: &HostEntry,
        asked: RegisterPassphraseRequest,
    ) -> Result<(), TenantError> {
        let asked = within(REGISTER_WITHIN, for_tenant(asked, entry));
        self.0.clone().register_passphrase(asked).await?;
        Ok(())
    }
}

/// A call for the instance of a host.
fn for_tenant<T>(message: T, entry: &HostEntry) -> Request<T> {
    let mut headers = HeaderMap::new();
    headers.insert(TENANT_HEADER, entry.header.clone());
    let metadata = MetadataMap::from_headers(headers);
    Request::from_parts(metadata, Extensions::default(), message)
}

fn within<T>(time: Duration, mut request: Request<T>) -> Request<T> {
    request.set_timeout(time);
    request
}
