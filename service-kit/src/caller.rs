//! The authentication of calls between gateway and services: who calls, for which instance, through which
//! door.
//!
//! The gateway and the services share a *cluster key*. A call without it is refused, so that nobody else
//! on the network can pose as the gateway. With it, these headers are trusted:
//!
//! | header | value |
//! |---|---|
//! | `x-hamlet-key` | the cluster key |
//! | `x-hamlet-door` | `public`, `admin` or `internal` |
//! | `x-hamlet-tenant-bin` | a [`Tenant`], when the call is for one instance |
//! | `x-hamlet-identity-bin` | an [`Identity`], when the caller has a session or a token of that instance |
//! | `x-hamlet-unproven` | [`Unproven`], when the caller sent a token that proves nothing |
//! | `x-hamlet-app` | the slug of an app, when the host of the call is that of an app |
//!
//! The gateway *replaces* all of them in what it forwards, so a client can choose neither its tenant nor its
//! identity by a header.

use hamlet_proto::hamlet::instance::v1::{Identity, Tenant};
use http::{HeaderMap, HeaderValue};
use prost::Message;
use tonic::{
    Code, Request, Status,
    metadata::{Ascii, MetadataMap, MetadataValue},
    service::Interceptor,
};

use crate::{
    secret::Keyring,
    status::{StatusBuilder, reasons},
    telemetry,
};

/// The header of the cluster key.
pub const KEY_HEADER: &str = "x-hamlet-key";
/// The header of the door.
pub const DOOR_HEADER: &str = "x-hamlet-door";
/// The header of the tenant.
pub const TENANT_HEADER: &str = "x-hamlet-tenant-bin";
/// The header of the identity.
pub const IDENTITY_HEADER: &str = "x-hamlet-identity-bin";
/// The header of why a token proves nothing.
pub const UNPROVEN_HEADER: &str = "x-hamlet-unproven";
/// The header of the app whose host was called.
pub const APP_HEADER: &str = "x-hamlet-app";

/// The listener through which a call reached Hamlet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// The public one: the caller is a stranger, or whoever [`Caller::identity`] says.
    Public,
    /// The admin one: the caller has the admin credential.
    Admin,
    /// None: the caller is another service.
    Internal,
}

impl Door {
    /// The header's value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Admin => "admin",
            Self::Internal => "internal",
        }
    }

    fn parse(text: &[u8]) -> Option<Self> {
        match text {
            b"public" => Some(Self::Public),
            b"admin" => Some(Self::Admin),
            b"internal" => Some(Self::Internal),
            _ => None,
        }
    }
}

/// Why a caller is a stranger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unproven {
    /// There is neither a session nor a token.
    #[default]
    Missing,
    /// The token is none of the instance.
    Wrong,
    /// The time of the token has passed.
    Expired,
}

impl Unproven {
    /// The header's value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Wrong => "wrong",
            Self::Expired => "expired",
        }
    }

    /// Reads the header.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        match headers.get(UNPROVEN_HEADER).map(HeaderValue::as_bytes) {
            Some(b"wrong") => Self::Wrong,
            Some(b"expired") => Self::Expired,
            _ => Self::Missing,
        }
    }

    /// The reason in errors.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Missing => reasons::TOKEN_MISSING,
            Self::Wrong => reasons::TOKEN_WRONG,
            Self::Expired => reasons::TOKEN_EXPIRED,
        }
    }

    /// The refusal of a stranger.
    #[must_use]
    pub fn refusal(self) -> Status {
        let told = match self {
            Self::Missing => {
                "this call needs a token of the instance: send authorization: Bearer, or use the admin door"
            }
            Self::Wrong => "the token is not one of this instance; ask for another one",
            Self::Expired => "the token has expired; ask for another one",
        };
        StatusBuilder::new(Code::Unauthenticated, self.reason(), told).build()
    }
}

/// The authenticated caller of a request. [`Authenticate`] puts it into the request's extensions.
#[derive(Clone, Debug)]
pub struct Caller {
    door: Door,
    tenant: Option<Tenant>,
    identity: Option<Identity>,
    unproven: Unproven,
    app: Option<String>,
}

impl Caller {
    /// The caller of a request that passed [`Authenticate`].
    ///
    /// # Errors
    /// INTERNAL when the service was served without [`Authenticate`].
    pub fn of<T>(request: &Request<T>) -> Result<&Self, Status> {
        request
            .extensions()
            .get::<Self>()
            .ok_or_else(|| Status::internal("the service was started without authentication"))
    }

    /// A call to a handler of gRPC within this process, by the same caller.
    pub fn call<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.extensions_mut().insert(self.clone());
        request
    }

    /// The door through which the call came.
    #[must_use]
    pub const fn door(&self) -> Door {
        self.door
    }

    /// Accepts administrators and other services.
    ///
    /// # Errors
    /// UNAUTHENTICATED for other callers.
    pub fn require_admin(&self) -> Result<(), Status> {
        match self.door {
            Door::Admin | Door::Internal => Ok(()),
            Door::Public => Err(StatusBuilder::new(
                Code::Unauthenticated,
                "ADMIN_DOOR_ONLY",
                "this call needs the admin credential: use the admin door",
            )
            .build()),
        }
    }

    /// Accepts other services.
    ///
    /// # Errors
    /// PERMISSION_DENIED for other callers.
    pub fn require_internal(&self) -> Result<(), Status> {
        match self.door {
            Door::Internal => Ok(()),
            Door::Admin | Door::Public => Err(StatusBuilder::new(
                Code::PermissionDenied,
                "INTERNAL_ONLY",
                "this call is made between Hamlet's services only",
            )
            .build()),
        }
    }

    /// The instance the call is for.
    ///
    /// # Errors
    /// INVALID_ARGUMENT when the call names none.
    pub fn tenant(&self) -> Result<&Tenant, Status> {
        self.tenant.as_ref().ok_or_else(|| {
            StatusBuilder::new(
                Code::InvalidArgument,
                "NO_INSTANCE",
                "this call is for one instance: send its domain as :authority",
            )
            .build()
        })
    }

    /// Whose session or token the call was made with; `None` for a stranger.
    #[must_use]
    pub const fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref()
    }

    /// Why the caller of [`Self::identity`] is a stranger.
    #[must_use]
    pub const fn unproven(&self) -> Unproven {
        self.unproven
    }

    /// The slug of the app whose host was called; `None` on the host of an instance itself.
    #[must_use]
    pub fn app(&self) -> Option<&str> {
        self.app.as_deref()
    }
}

/// Accepts calls with the cluster key, and reads from their headers who calls.
#[derive(Clone, Debug)]
pub struct Authenticate {
    key: Keyring,
}

impl Authenticate {
    /// Accepts calls with `key`.
    #[must_use]
    pub fn new(key: impl Into<Keyring>) -> Self {
        Self { key: key.into() }
    }
}

impl Interceptor for Authenticate {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let metadata = request.metadata();
        let known = metadata
            .get(KEY_HEADER)
            .and_then(|value| value.to_str().ok())
            .is_some_and(|key| self.key.accepts(key));
        if !known {
            return Err(StatusBuilder::new(
                Code::Unauthenticated,
                "NO_CLUSTER_KEY",
                "services are reached through the gateway only",
            )
            .build());
        }
        let door = metadata
            .get(DOOR_HEADER)
            .and_then(|value| Door::parse(value.as_bytes()))
            .ok_or_else(|| Status::internal("the call does not say which door it came through"))?;
        let tenant: Option<Tenant> = read(metadata, TENANT_HEADER)?;
        let identity = read(metadata, IDENTITY_HEADER)?;
        let unproven = Unproven::of(metadata.as_ref());
        let app = metadata
            .get(APP_HEADER)
            .and_then(|slug| slug.to_str().ok())
            .map(str::to_owned);
        if tenant.as_ref().is_some_and(|tenant| tenant.debug) {
            telemetry::debug_this_call();
        }
        request.extensions_mut().insert(Caller {
            door,
            tenant,
            identity,
            unproven,
            app,
        });
        Ok(request)
    }
}

fn read<M: Message + Default>(
    metadata: &MetadataMap,
    header: &'static str,
) -> Result<Option<M>, Status> {
    let Some(value) = metadata.get_bin(header) else {
        return Ok(None);
    };
    let bytes = value
        .to_bytes()
        .map_err(|_| Status::internal(format!("the header {header} is not base64")))?;
    M::decode(bytes)
        .map(Some)
        .map_err(|_| Status::internal(format!("the header {header} does not hold its message")))
}

/// The value of the tenant's or the identity's header, for the gateway: the base64 of the encoded message, unpadded.
#[must_use]
pub fn header_value(message: &impl Message) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD_NO_PAD.encode(message.encode_to_vec())
}

/// The message of such a value; `None` when it holds none.
#[must_use]
pub fn message_of<M: Message + Default>(value: &[u8]) -> Option<M> {
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::STANDARD_NO_PAD.decode(value);
    M::decode(bytes.ok()?.as_slice()).ok()
}

/// A request to another service for one instance.
pub fn for_tenant<T>(message: T, tenant: &Tenant) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert_bin(
        TENANT_HEADER,
        MetadataValue::from_bytes(&tenant.encode_to_vec()),
    );
    request
}

/// A request to another service for one instance, on behalf of whoever made the call that it serves.
///
/// # Errors
/// INVALID_ARGUMENT when that call names no instance.
pub fn on_behalf_of<T>(message: T, caller: &Caller) -> Result<Request<T>, Status> {
    let mut request = for_tenant(message, caller.tenant()?);
    if let Some(identity) = caller.identity() {
        request.metadata_mut().insert_bin(
            IDENTITY_HEADER,
            MetadataValue::from_bytes(&identity.encode_to_vec()),
        );
    }
    Ok(request)
}

/// Adds the cluster key to calls from this service to another.
#[derive(Clone, Debug)]
pub struct AttachKey {
    key: Keyring,
}

impl AttachKey {
    /// Adds the current value of `key`. `None` when that cannot be a header value.
    #[must_use]
    pub fn new(key: impl Into<Keyring>) -> Option<Self> {
        let key = key.into();
        header(&key).map(|_| Self { key })
    }
}

fn header(key: &Keyring) -> Option<MetadataValue<Ascii>> {
    let mut header: MetadataValue<Ascii> = key.current().expose().parse().ok()?;
    header.set_sensitive(true);
    Some(header)
}

impl Interceptor for AttachKey {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let key = header(&self.key)
            .ok_or_else(|| Status::internal("the cluster key cannot stand in a header"))?;
        let metadata = request.metadata_mut();
        metadata.insert(KEY_HEADER, key);
        metadata.insert(
            DOOR_HEADER,
            MetadataValue::from_static(Door::Internal.as_str()),
        );
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use tonic::{Code, Request, service::Interceptor as _};

    use super::{AttachKey, Authenticate, Caller, Door, Unproven, for_tenant, on_behalf_of};
    use crate::secret::Secret;
    use hamlet_proto::hamlet::instance::v1::{Identity, Tenant};

    fn tenant() -> Tenant {
        Tenant {
            domain: "alice.example".to_owned(),
            ..Tenant::default()
        }
    }

    #[test]
    fn a_call_without_the_key_is_refused() {
        let mut door = Authenticate::new(Secret::new("right"));
        let refused = door.call(for_tenant((), &tenant())).unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated);

        let mut wrong = AttachKey::new(Secret::new("wrong")).unwrap();
        let request = wrong.call(Request::new(())).unwrap();
        assert_eq!(
            door.call(request).unwrap_err().code(),
            Code::Unauthenticated
        );
    }

    #[test]
    fn the_tenant_of_a_call_with_the_key_is_read() {
        let key = Secret::new("right");
        let sent = AttachKey::new(&key)
            .unwrap()
            .call(for_tenant((), &tenant()))
            .unwrap();
        let got = Authenticate::new(key).call(sent).unwrap();
        let caller = Caller::of(&got).unwrap();
        assert_eq!(caller.door(), Door::Internal);
        assert_eq!(caller.tenant().unwrap().domain, "alice.example");
    }

    #[test]
    fn a_service_passes_on_who_calls() {
        let caller = Caller {
            door: Door::Public,
            tenant: Some(tenant()),
            identity: Some(Identity {
                session_id: "it".to_owned(),
                ..Identity::default()
            }),
            unproven: Unproven::Missing,
            app: None,
        };
        let sent = AttachKey::new(Secret::new("right"))
            .unwrap()
            .call(on_behalf_of((), &caller).unwrap())
            .unwrap();
        let got = Authenticate::new(Secret::new("right")).call(sent).unwrap();
        let got = Caller::of(&got).unwrap();
        assert_eq!(got.identity().unwrap().session_id, "it");
        assert_eq!(got.tenant().unwrap(), &tenant());
    }

    #[test]
    fn a_public_caller_is_not_an_administrator() {
        let caller = Caller {
            door: Door::Public,
            tenant: None,
            identity: None,
            unproven: Unproven::Missing,
            app: None,
        };
        assert_eq!(
            caller.require_admin().unwrap_err().code(),
            Code::Unauthenticated
        );
        assert_eq!(
            caller.require_internal().unwrap_err().code(),
            Code::PermissionDenied
        );
        assert_eq!(caller.tenant().unwrap_err().code(), Code::InvalidArgument);
    }
}
