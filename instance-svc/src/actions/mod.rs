//! What is answered without an operation, and the asking for one. One verb a file.

pub(crate) mod adopt;
pub(crate) mod cancel;
pub(crate) mod create_token;
pub(crate) mod derive;
pub(crate) mod find;
pub(crate) mod follow;
pub(crate) mod forget;
pub(crate) mod list;
pub(crate) mod list_operations;
pub(crate) mod register_passphrase;
pub(crate) mod request_change;
pub(crate) mod request_create;
pub(crate) mod request_destroy;
pub(crate) mod request_purge;
pub(crate) mod resolve;
pub(crate) mod retry;
pub(crate) mod set_passphrase;
pub(crate) mod soft_delete;

use hmac::{Hmac, Mac as _};
use serde::Serialize;
use service_kit::secret::Secret;
use sha2::{Digest as _, Sha256};

use crate::{domain::operation::Operation, error::Error, store::Store};

/// The id of the operation that a request asks for: derived from its request id, so that the same request
/// finds the same operation (AIP-155). A request without an id gets one that nothing else has.
///
/// There is one caller, the administrator; with more, who they are belongs into this.
pub(crate) fn operation_id(kind: &str, request_id: &str) -> String {
    if request_id.is_empty() {
        return couch::DocId::ascending().into_string();
    }
    let mut hash = Sha256::new();
    for part in ["admin", kind, request_id] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    let mut id = hex::encode(hash.finalize());
    id.truncate(32);
    id
}

/// The HMAC of a request's arguments, in hex. A plain hash would let whoever reads the database guess at
/// arguments that are secret.
pub(crate) fn arguments_mac<T: Serialize>(key: &Secret, arguments: &T) -> Result<String, Error> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.expose().as_bytes())
        // HMAC takes keys of any length.
        .unwrap_or_else(|_| Hmac::<Sha256>::new(&hmac::digest::Key::<Hmac<Sha256>>::default()));
    mac.update(&serde_json::to_vec(arguments)?);
    Ok(hex::encode(mac.finalize().into_bytes()))
}

/// The operation that a request has asked for before (AIP-155).
///
/// # Errors
/// [`Error::RequestIdReused`]; any fault of the database.
pub(crate) async fn known(
    store: &Store,
    request_id: &str,
    id: &str,
    mac: &str,
) -> Result<Option<Box<Operation>>, Error> {
    if request_id.is_empty() {
        return Ok(None);
    }
    match store.operation(id).await? {
        Some(known) if known.body.arguments_mac == mac => Ok(Some(Box::new(known.body))),
        Some(_) => Err(Error::RequestIdReused),
        None => Ok(None),
    }
}

/// Checks a request id: a caller's own text, best a UUID.
pub(crate) fn check_request_id(text: &str) -> Result<(), crate::domain::spec::InvalidField> {
    let fine = text.len() <= 128 && text.bytes().all(|byte| byte.is_ascii_graphic());
    if fine {
        Ok(())
    } else {
        Err(crate::domain::spec::InvalidField {
            field: "request_id".to_owned(),
            wrong: "is not usable; give up to 128 printable ASCII characters without spaces, best a UUID"
                .to_owned(),
        })
    }
}

/// The prefix of a new instance: `cozy` and 32 random hex digits. A new instance of an old name so shares
/// nothing with the one before.
pub(crate) fn random_prefix() -> Result<String, Error> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes)?;
    Ok(format!("cozy{}", hex::encode(bytes)))
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use service_kit::secret::Secret;

    use super::{arguments_mac, check_request_id, operation_id, random_prefix};

    #[test]
    fn a_request_id_always_means_the_same_operation() {
        assert_eq!(operation_id("create", "r"), operation_id("create", "r"));
        assert_ne!(operation_id("create", "r"), operation_id("destroy", "r"));
        assert_ne!(operation_id("create", ""), operation_id("create", ""));
        assert_eq!(operation_id("create", "r").len(), 32);
    }

    #[test]
    fn arguments_are_compared_under_a_key() {
        let one = arguments_mac(&Secret::new("one"), &"x").unwrap();
        assert_eq!(one, arguments_mac(&Secret::new("one"), &"x").unwrap());
        assert_ne!(one, arguments_mac(&Secret::new("two"), &"x").unwrap());
        assert_ne!(one, arguments_mac(&Secret::new("one"), &"y").unwrap());
    }

    #[test]
    fn prefixes_are_never_alike() {
        let prefix = random_prefix().unwrap();
        assert_eq!(prefix.len(), 36);
        assert!(prefix.starts_with("cozy"));
        assert_ne!(prefix, random_prefix().unwrap());
    }

    #[test]
    fn a_request_id_is_short_and_printable() {
        assert!(check_request_id("").is_ok());
        assert!(check_request_id("018f0000-0000-7000-8000-000000000001").is_ok());
        assert!(check_request_id("a b").is_err());
        assert!(check_request_id(&"x".repeat(129)).is_err());
    }
}
