//! What the gateway asks of the instance service for the owner of one instance.

use std::time::Duration;

use hamlet_proto::hamlet::instance::v1::{
    CheckRegisterTokenRequest, PassphraseParameters, RegisterPassphraseRequest,
    tenant_service_client::TenantServiceClient,
};
use service_kit::{
    caller::{AttachKey, for_tenant},
    peer::{self, Peer},
    secret::Keyring,
    status,
};
use tonic::{Code, Request, Status, service::interceptor::InterceptedService};

use crate::{directory::Place, route::Service, services::Services};

/// How long looking at a token may take.
const CHECK_WITHIN: Duration = Duration::from_secs(5);
/// How long setting a passphrase may take: it is hashed on purpose slowly, and waits for its turn.
const REGISTER_WITHIN: Duration = Duration::from_secs(60);

/// Why a register token opens nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DeadToken {
    /// It is not of hex digits.
    Malformed,
    /// It is not the one of the instance.
    Wrong,
    /// The passphrase is chosen already.
    Used,
    /// Its time has passed.
    Expired,
}

/// Why the instance service did not do what was asked.
#[derive(Debug)]
pub(crate) enum Refusal {
    Token(DeadToken),
    /// A field is wrong: its name in the contract, and what is wrong with it.
    Field(String, String),
    /// It cannot be reached, or failed.
    OutOfReach,
}

impl From<Status> for Refusal {
    fn from(refused: Status) -> Self {
        use tonic_types::StatusExt as _;
        match status::reason(&refused).as_deref() {
            Some("REGISTER_TOKEN_WRONG") => return Self::Token(DeadToken::Wrong),
            Some("REGISTER_TOKEN_USED") => return Self::Token(DeadToken::Used),
            Some("REGISTER_TOKEN_EXPIRED") => return Self::Token(DeadToken::Expired),
            _ => {}
        }
        let violation = refused
            .get_details_bad_request()
            .and_then(|wrong| wrong.field_violations.into_iter().next());
        match violation {
            Some(wrong) if wrong.field == "register_token" => Self::Token(DeadToken::Malformed),
            Some(wrong) => Self::Field(wrong.field, wrong.description),
            None => {
                if refused.code() != Code::NotFound {
                    tracing::warn!(
                        code = %refused.code(),
                        message = refused.message(),
                        "the instance service could not be asked"
                    );
                }
                Self::OutOfReach
            }
        }
    }
}

/// The instance service's part for owners.
pub(crate) struct Tenants(TenantServiceClient<Peer>);

impl Tenants {
    pub(crate) fn new(services: &Services, key: &Keyring) -> Result<Self, peer::Error> {
        let attach = AttachKey::new(key).ok_or(peer::Error::Key)?;
        let channel = services.channel(Service::Instances);
        let peer = InterceptedService::new(channel, attach);
        Ok(Self(TenantServiceClient::new(peer)))
    }

    /// Whether a token opens the instance, and what a browser needs then.
    pub(crate) async fn check(
        &self,
        place: &Place,
        token: &str,
    ) -> Result<PassphraseParameters, Refusal> {
        let asked = CheckRegisterTokenRequest {
            register_token: token.to_owned(),
        };
        let asked = within(CHECK_WITHIN, for_tenant(asked, &place.tenant));
        Ok(self
            .0
            .clone()
            .check_register_token(asked)
            .await?
            .into_inner())
    }

    /// Chooses the first passphrase.
    pub(crate) async fn register(
        &self,
        place: &Place,
        asked: RegisterPassphraseRequest,
    ) -> Result<(), Refusal> {
        let asked = within(REGISTER_WITHIN, for_tenant(asked, &place.tenant));
        self.0.clone().register_passphrase(asked).await?;
        Ok(())
    }
}

fn within<T>(time: Duration, mut request: Request<T>) -> Request<T> {
    request.set_timeout(time);
    request
}
