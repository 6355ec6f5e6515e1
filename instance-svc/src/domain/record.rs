//! What Hamlet knows of an instance beyond the compatible fields.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    claim::{Wanted, wanted},
    fields::Documents,
    instance::InstanceDocument,
};

/// The document of an instance in `global/hamlet-instances`; its `_id` is that of the instance's
/// document. Lists are read from here, in the order of ids, which is that of creation.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub struct Record {
    /// The main domain.
    pub domain: String,
    /// Other domains.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub domain_aliases: Vec<String>,
    /// A former domain.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub old_domain: String,
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
    /// Whether that operation is known to have ended. Until then no other operation may begin on the instance.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub created: bool,
    /// The operation that is at work on it. To take this is the first step of every operation on an
    /// instance that exists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// Whether destroying it is refused.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub locked: bool,
    /// When it was deleted softly, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted_at: Option<String>,
    /// When it is destroyed, after it was deleted softly, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purge_at: Option<String>,
    /// Whether and why it was blocked before it was deleted softly: bringing it back restores this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked_before: Option<Blocking>,
    /// Until when calls for it are logged in detail, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub debug_until: Option<String>,
    /// When the register token expires, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub register_expires_at: Option<String>,
    /// Fields that rules alone look at, and what a version to come keeps here.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// Whether access to an instance is refused, and why.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub struct Blocking {
    /// Whether it is.
    pub blocked: bool,
    /// Why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// Why the state of an instance does not let an operation begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is protected.
    #[error("is locked; unlock it first")]
    Locked,
    /// It was deleted softly.
    #[error("is deleted; bring it back first")]
    Deleted,
    /// It was not deleted softly.
    #[error("is not deleted, so that it cannot be brought back")]
    NotDeleted,
    /// It was brought back, or is kept for longer.
    #[error("was brought back or is kept for longer; it is not destroyed now")]
    NotDue,
}

impl Record {
    /// The claims of the names that it tells, in the order in which they are made.
    #[must_use]
    pub fn wanted(&self) -> Vec<Wanted> {
        wanted(&self.domain, &self.domain_aliases, &self.old_domain)
    }

    /// The same record with the copies brought up to date with the instance document.
    #[must_use]
    pub fn following(&self, document: &InstanceDocument) -> Self {
        let mut documents = Documents {
            instance: document.clone(),
            record: self.clone(),
            ..Documents::default()
        };
        documents.copy();
        documents.record
    }

    /// Whether the state of the instance lets a destruction begin. One that begins by itself names the
    /// time for which it was due.
    ///
    /// # Errors
    /// Why not.
    pub fn may_be_destroyed(&self, due: Option<&str>) -> Result<(), Refusal> {
        if self.locked {
            return Err(Refusal::Locked);
        }
        if due.is_some_and(|due| self.purge_at.as_deref() != Some(due)) {
            return Err(Refusal::NotDue);
        }
        Ok(())
    }
}
