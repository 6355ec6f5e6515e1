//! What Hamlet knows of an instance beyond the compatible fields.

use serde::{Deserialize, Serialize};

/// The document of an instance in `global/hamlet-instances`; its `_id` is that of the instance's
/// document. Lists are read from here, in the order of ids, which is that of creation.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct Record {
    /// The main domain.
    pub domain: String,
    /// Other domains.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub domain_aliases: Vec<String>,
    /// The prefix of the databases.
    pub prefix: String,
    /// The language.
    pub locale: String,
    /// The group of settings.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub context: String,
    /// When the instance was asked for, RFC 3339.
    pub created_at: String,
    /// The operation that created it.
    pub created_by: String,
    /// The operation that is at work on it. To take this is the first step of every operation on an
    /// instance that exists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
}
