//! Counts of what was removed, or would be.

use serde::{Deserialize, Serialize};

/// Counts of what was removed, by type.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub struct Removed {
    /// Objects of the content stores.
    #[serde(default)]
    pub objects: u64,
    /// Databases.
    #[serde(default)]
    pub databases: u64,
    /// Documents of `global/…`.
    #[serde(default)]
    pub documents: u64,
    /// Claims.
    #[serde(default)]
    pub claims: u64,
}

impl std::ops::AddAssign for Removed {
    fn add_assign(&mut self, other: Self) {
        self.objects += other.objects;
        self.databases += other.databases;
        self.documents += other.documents;
        self.claims += other.claims;
    }
}
