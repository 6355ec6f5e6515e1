//! The record of an instance: what Hamlet knows of it beyond the compatible fields.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    change::DELETED,
    claim::{Wanted, wanted},
    fields::Documents,
    instance::InstanceDocument,
    time::Time,
};

/// The record of an instance, a document in `global/hamlet-instances`; its `_id` is that of the instance
/// document. Lists are read from the records, in the order of ids, which is that of creation.
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
    /// The context.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub context: String,
    /// The owner's mail address, a copy from the owner's settings. `None` when they were not read yet. Other software may
    /// have changed the settings since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// When the creation was requested. Every record that is stored has it; an instance without a record does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Time>,
    /// The operation that created it.
    pub created_by: String,
    /// Whether that operation is known to have ended. Until then no other operation may take the instance.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub created: bool,
    /// The operation that has the instance. The first step of every operation on an existing instance is to
    /// write its id here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// The last operation that had the instance and has ended. A request that is sent again for it does not take
    /// the instance. Empty after a write by version 0.1.0, which does not know this member.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_operation: Option<String>,
    /// Whether it is protected from destruction.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub locked: bool,
    /// When it was softly deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted_at: Option<Time>,
    /// When it is to be destroyed after a soft deletion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purge_at: Option<Time>,
    /// The block from before the soft deletion, which restoring the instance brings back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked_before: Option<Blocking>,
    /// The reason of the block that Hamlet has made; empty for any. Other software may have taken the block away since, and
    /// made another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own_block: Option<String>,
    /// Whether a destruction has flagged it: from then on `deleting` is Hamlet's, whoever set it first.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub destroying: bool,
    /// Until when its calls are logged in detail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub debug_until: Option<Time>,
    /// When the register token expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub register_expires_at: Option<Time>,
    /// Fields without a member here, and members of newer versions.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// Whether access to an instance is blocked, and why.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub struct Blocking {
    /// Whether it is.
    pub blocked: bool,
    /// Why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// Why the state of an instance does not allow an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is protected.
    #[error("is locked; unlock it first")]
    Locked,
    /// It is softly deleted.
    #[error("is deleted; bring it back first")]
    Deleted,
    /// It is not softly deleted.
    #[error("is not deleted, so that it cannot be brought back")]
    NotDeleted,
    /// It was restored, or is kept for longer.
    #[error("was brought back or is kept for longer; it is not destroyed now")]
    NotDue,
}

impl Record {
    /// The claims of its names, in the order in which they are made.
    #[must_use]
    pub fn wanted(&self) -> Vec<Wanted> {
        wanted(&self.domain, &self.domain_aliases, &self.old_domain)
    }

    /// The prefix of the names of its databases. Instances from before prefixes were introduced use their domain.
    #[must_use]
    pub fn database_prefix(&self) -> &str {
        if self.prefix.is_empty() {
            &self.domain
        } else {
            &self.prefix
        }
    }

    /// The same record with its copies updated from the instance document.
    #[must_use]
    pub fn following(&self, document: &InstanceDocument) -> Self {
        let mut documents = Documents {
            instance: document.clone(),
            record: self.clone(),
            ..Documents::default()
        };
        documents.copy();
        documents.record.follow_block(document);
        documents.record
    }

    /// A block that other software has taken away or replaced is no longer Hamlet's. A soft deletion brings the earlier
    /// one back.
    fn follow_block(&mut self, document: &InstanceDocument) {
        let Some(own) = &mut self.own_block else {
            return;
        };
        if document.blocked && own.is_empty() {
            own.clone_from(&document.blocking_reason);
        }
        let reason = &document.blocking_reason;
        if !document.blocked || (own != reason && reason != DELETED) {
            self.own_block = None;
        }
    }

    /// Whether the state of the instance allows a destruction. A destruction that a soft deletion scheduled
    /// names the time at which it was due.
    ///
    /// # Errors
    /// The reason why it does not.
    pub fn may_be_destroyed(&self, due: Option<Time>) -> Result<(), Refusal> {
        if self.locked {
            return Err(Refusal::Locked);
        }
        if due.is_some() && due != self.purge_at {
            return Err(Refusal::NotDue);
        }
        Ok(())
    }
}
