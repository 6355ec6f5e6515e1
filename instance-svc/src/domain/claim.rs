//! Claims: who owns a name.

use serde::{Deserialize, Serialize};

/// The document of a name in `global/hamlet-claims`. Its `_id` is the canonical host, so that the
/// database itself refuses a second owner.
///
/// A claim names the operation that made it: one whose operation has failed, or never was, can be
/// removed by whoever meets it.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct Claim {
    /// The name as the instance's documents keep it.
    pub name: String,
    /// What the name is to the instance.
    pub kind: Kind,
    /// The id of the instance's document.
    pub instance: String,
    /// The id of the operation that made the claim.
    pub operation: String,
    /// When it was made, RFC 3339.
    pub created_at: String,
}

/// What a name is to its instance.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Its main domain.
    Domain,
    /// Another domain that leads to it.
    Alias,
}
