//! The admin credential, as callers send it.

use base64::Engine as _;
use http::{HeaderMap, header::AUTHORIZATION};
use service_kit::secret::Keyring;

/// What opens the admin door: `Authorization: Bearer CREDENTIAL`, or Basic with any user name and the
/// credential as password, which is what existing tools send.
#[derive(Debug)]
pub(crate) struct Credential(Keyring);

/// Why the door stays shut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("the admin door needs the admin credential: send it as a bearer token")]
    Missing,
    #[error("this is not the admin credential of this installation")]
    Wrong,
}

impl Credential {
    pub(crate) const fn new(credential: Keyring) -> Self {
        Self(credential)
    }

    /// Looks at the one `Authorization` header of a request.
    pub(crate) fn check(&self, headers: &HeaderMap) -> Result<(), Refused> {
        let mut sent = headers.get_all(AUTHORIZATION).iter();
        let header = sent.next().ok_or(Refused::Missing)?;
        let text = header.to_str().map_err(|_| Refused::Wrong)?;
        let (scheme, rest) = text.split_once(' ').ok_or(Refused::Wrong)?;
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
            Err(Refused::Wrong)
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
