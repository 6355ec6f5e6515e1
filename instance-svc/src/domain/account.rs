//! Accounts at other services, which konnectors use for the owner.

use std::fmt;

/// An account that only its konnector can delete at the other service, by a script of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The id of its document.
    pub id: String,
    /// The slug of the konnector.
    pub konnector: String,
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.konnector, self.id)
    }
}
