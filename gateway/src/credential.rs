//! The check of the admin credential.

use base64::Engine as _;
use http::{HeaderMap, header::AUTHORIZATION};
use service_kit::secret::Keyring;

/// The admin credential. Callers send `Authorization: Bearer CREDENTIAL`, or Basic with any user name and
/// the credential as password, as existing tools do.
#[derive(Debug)]
pub(crate) struct Credential(Keyring);

/// Why a caller is not an administrator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CredentialError {
    #[error("the admin door needs the admin credential: send it as a bearer token")]
    Missing,
    #[error("this is not the admin credential of this installation")]
    Wrong,
}

impl CredentialError {
    /// The reason, for programs.
    pub(crate) const fn reason(self) -> &'static str {
        match self {
            Self::Missing => "ADMIN_CREDENTIAL_MISSING",
            Self::Wrong => "ADMIN_CREDENTIAL_WRONG",
        }
    }
}

impl Credential {
    pub(crate) const fn new(credential: Keyring) -> Self {
        Self(credential)
    }

    /// Checks the `Authorization` header of a request, of which there has to be exactly one.
    pub(crate) fn check(&self, headers: &HeaderMap) -> Result<(), CredentialError> {
        let mut sent = headers.get_all(AUTHORIZATION).iter();
        let header = sent.next().ok_or(CredentialError::Missing)?;
        let text = header.to_str().map_err(|_| CredentialError::Wrong)?;
        let (scheme, rest) = text.split_once(' ').ok_or(CredentialError::Wrong)?;
        let fits = if scheme.eq_ignore_ascii_case("bearer") {
            self.0.accepts(rest.trim())
        } else if scheme.eq_ignore_ascii_case("basic") {
            password(rest.trim()).is_some_and(|password| self.0.accepts(&password))
        } else {
            false
        };
        if fits && sent.next().is_none() {
            Ok(())
        } else {
            Err(CredentialError::Wrong)
        }
    }
}

fn password(encoded: &str) -> Option<String> {
    let decoded = base64::engine::general_purpose::STANDARD
        .decode(encoded)
        .ok()?;
    let text = String::from_utf8(decoded).ok()?;
    text.split_once(':')
        .map(|(_, password)| password.to_owned())
}
