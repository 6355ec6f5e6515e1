//! Changes of an existing instance: the request, and its effect on each document.
//!
//! A change names the values that it wants. Applying it twice has the same effect as once, and what other
//! software wrote in other fields is kept.

mod record_patch;
mod stored;

use std::mem::take;

use hamlet_proto::fields::Kept;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use record_patch::{RecordPatch, SoftDeletion};

use super::{
    claim::{Wanted, wanted},
    fields::{Asked, Documents, Now, UNKNOWN},
    instance::InstanceDocument,
    record::{Blocking, Record, Refusal},
    spec::InvalidField,
};

/// The blocking reason of a softly deleted instance.
pub const DELETED: &str = "DELETED";

/// A change of an instance.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(try_from = "stored::Stored", into = "stored::Stored")]
pub struct Change {
    /// The verb that requested it.
    pub kind: ChangeKind,
    /// The etag that the instance must still have; empty for any.
    pub etag: String,
    /// The requested fields; an empty value clears one.
    pub asked: Asked,
    /// Further changes of the record.
    pub record: RecordPatch,
    /// The names that it adds. Set when the instance is taken.
    pub added: Vec<Wanted>,
    /// The names that it removes. Set when the instance is taken.
    pub removed: Vec<Wanted>,
    /// The block that a soft deletion has to restore later. Set when the instance is taken.
    pub blocked_before: Option<Blocking>,
}

/// The verbs that change an instance.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChangeKind {
    /// Sets fields.
    #[default]
    Update,
    /// Blocks access.
    Block,
    /// Unblocks access.
    Unblock,
    /// Deletes softly: blocks, hides, and schedules the destruction.
    Delete,
    /// Restores a softly deleted instance.
    Undelete,
    /// Makes a new register link.
    RegisterLink,
    /// Sets the passphrase.
    Passphrase,
    /// Ends all sessions.
    Sessions,
    /// Ends all sessions and tokens.
    Tokens,
    /// Makes a link to choose a new passphrase.
    ResetLink,
}

impl ChangeKind {
    /// All verbs.
    pub const ALL: &'static [Self] = &[
        Self::Update,
        Self::Block,
        Self::Unblock,
        Self::Delete,
        Self::Undelete,
        Self::RegisterLink,
        Self::Passphrase,
        Self::Sessions,
        Self::Tokens,
        Self::ResetLink,
    ];

    /// The names of all verbs.
    pub const NAMES: &'static [&'static str] = &[
        Self::Update.name(),
        Self::Block.name(),
        Self::Unblock.name(),
        Self::Delete.name(),
        Self::Undelete.name(),
        Self::RegisterLink.name(),
        Self::Passphrase.name(),
        Self::Sessions.name(),
        Self::Tokens.name(),
        Self::ResetLink.name(),
    ];

    /// The name of the verb in the contract.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Update => "update",
            Self::Block => "block",
            Self::Unblock => "unblock",
            Self::Delete => "delete",
            Self::Undelete => "undelete",
            Self::RegisterLink => "register-link",
            Self::Passphrase => "passphrase",
            Self::Sessions => "sessions",
            Self::Tokens => "tokens",
            Self::ResetLink => "reset-link",
        }
    }
}

impl Change {
    /// Checks the values and brings names into their canonical form. `document` and `record` are the current
    /// documents of the instance.
    ///
    /// # Errors
    /// All invalid fields; at least one.
    pub fn check(
        mut self,
        document: &InstanceDocument,
        record: &Record,
    ) -> Result<Self, Vec<InvalidField>> {
        let now = Now {
            instance: document,
            record,
        };
        self.asked = self.asked.check(Some(now))?;
        Ok(self)
    }

    /// Whether the state of the instance allows the change.
    ///
    /// # Errors
    /// The reason why it does not.
    pub fn may_begin(&self, record: &Record) -> Result<(), Refusal> {
        match self.kind {
            ChangeKind::Delete if record.locked => Err(Refusal::Locked),
            ChangeKind::Delete => Ok(()),
            ChangeKind::Undelete if record.deleted_at.is_none() => Err(Refusal::NotDeleted),
            ChangeKind::Undelete => Ok(()),
            ChangeKind::Update
            | ChangeKind::Block
            | ChangeKind::Unblock
            | ChangeKind::RegisterLink
            | ChangeKind::Passphrase
            | ChangeKind::Sessions
            | ChangeKind::Tokens
            | ChangeKind::ResetLink => {
                if record.deleted_at.is_some() {
                    Err(Refusal::Deleted)
                } else {
                    Ok(())
                }
            }
        }
    }

    /// Completes the change from the instance as it is when it is taken: the names to claim and to release, and
    /// the block to restore.
    pub fn settle(&mut self, document: &InstanceDocument, record: &Record) {
        let (added, removed) = self.names(document, record);
        self.added = added;
        self.removed = removed;
        match self.kind {
            ChangeKind::Delete => {
                let now = Blocking {
                    blocked: document.blocked,
                    reason: document.blocking_reason.clone(),
                };
                // After two soft deletions in a row, the block to restore is the one that the first deletion
                // found.
                self.blocked_before = Some(record.blocked_before.clone().unwrap_or(now));
            }
            ChangeKind::Undelete => {
                let before = record.blocked_before.clone().unwrap_or_default();
                self.asked = take(&mut self.asked)
                    .with("blocked", before.blocked)
                    .with("blocking_reason", before.reason);
            }
            ChangeKind::Update
            | ChangeKind::Block
            | ChangeKind::Unblock
            | ChangeKind::RegisterLink
            | ChangeKind::Passphrase
            | ChangeKind::Sessions
            | ChangeKind::Tokens
            | ChangeKind::ResetLink => {}
        }
    }

    /// Whether the change is decided when the instance is taken. Nothing can refuse it after that, and a new
    /// owner can repeat every step without knowing how far the previous owner came. Changes of names are not
    /// decided then, because the names have to be won first. Changes with secrets are not, because the secrets
    /// have to be opened and a token may be used up. Soft deletion and its reversal are not, because what they
    /// restore can only be read before they write.
    #[must_use]
    pub fn is_decided_when_taken(&self) -> bool {
        !self.changes_names()
            && match self.kind {
                ChangeKind::Update
                | ChangeKind::Block
                | ChangeKind::Unblock
                | ChangeKind::Sessions => true,
                ChangeKind::Delete
                | ChangeKind::Undelete
                | ChangeKind::RegisterLink
                | ChangeKind::Passphrase
                | ChangeKind::Tokens
                | ChangeKind::ResetLink => false,
            }
    }

    /// Whether it changes the record, apart from the copies of fields of the instance document.
    #[must_use]
    pub fn changes_record(&self) -> bool {
        self.record != RecordPatch::default()
            || self.asked.touches(|kept| matches!(kept, Kept::Record(_)))
            // Nobody but the change itself writes this copy.
            || self.asked.text("email").is_some()
    }

    /// Whether [`Self::settle`] needs the instance document.
    #[must_use]
    pub fn needs_settling(&self) -> bool {
        self.changes_names() || matches!(self.kind, ChangeKind::Delete | ChangeKind::Undelete)
    }

    fn changes_names(&self) -> bool {
        let asked = self.asked.values();
        asked.contains_key("domain_aliases") || asked.contains_key("old_domain")
    }

    /// The names that are added to those of the instance, and those that are removed. A name that other
    /// software added to the document and nobody has claimed yet counts as added if the instance keeps it.
    fn names(&self, document: &InstanceDocument, record: &Record) -> (Vec<Wanted>, Vec<Wanted>) {
        if !self.changes_names() {
            return (Vec::new(), Vec::new());
        }
        let claimed = record.wanted();
        let mut changed = document.clone();
        self.apply_to_document(&mut changed);
        let mut added = wanted(
            &document.domain,
            &changed.domain_aliases,
            &changed.old_domain,
        );
        let mut removed = claimed.clone();
        removed.extend(document.wanted());
        removed.sort_by(|a, b| a.id.cmp(&b.id));
        removed.dedup_by(|a, b| a.id == b.id);
        removed.retain(|name| !added.iter().any(|kept| kept.id == name.id));
        added.retain(|name| !claimed.iter().any(|kept| kept.id == name.id));
        (added, removed)
    }

    /// Applies the change to the instance document. Returns whether the document has changed.
    pub fn apply_to_document(&self, document: &mut InstanceDocument) -> bool {
        let before = document.clone();
        let mut documents = Documents {
            instance: take(document),
            ..Documents::default()
        };
        self.asked.write(&mut documents);
        *document = documents.instance;
        *document != before
    }

    /// Applies the change to the owner's settings. Returns whether they have changed.
    pub fn apply_to_settings(&self, settings: &mut Map<String, Value>) -> bool {
        let before = settings.clone();
        let mut documents = Documents {
            settings: take(settings),
            ..Documents::default()
        };
        self.asked.write(&mut documents);
        *settings = documents.settings;
        *settings != before
    }

    /// Whether it can change the owner's settings.
    #[must_use]
    pub fn changes_settings(&self) -> bool {
        self.asked.touches(|kept| matches!(kept, Kept::Settings(_)))
    }

    /// Whether it can change the instance document.
    #[must_use]
    pub fn changes_document(&self) -> bool {
        self.asked.touches(|kept| matches!(kept, Kept::Document(_)))
    }

    /// Applies the change to the record: its own fields, and the copies of fields of the instance document.
    pub fn apply_to_record(&self, record: &mut Record) {
        let mut documents = Documents {
            record: take(record),
            ..Documents::default()
        };
        self.asked.write(&mut documents);
        *record = documents.record;
        self.record.apply(record, self.blocked_before.as_ref());
        if self.is_of_block() {
            match self.asked.flag("blocked") {
                Some(true) => record.own_block = Some(self.reason().unwrap_or_default()),
                Some(false) => record.own_block = None,
                None => {
                    if let (Some(own), Some(reason)) = (&mut record.own_block, self.reason()) {
                        *own = reason;
                    }
                }
            }
        }
    }

    /// Notes in the record that the block is Hamlet's. The write that takes the instance does it, before the document is
    /// written, so that a block is Hamlet's from its first moment. The rest of what [`Self::apply_to_record`] does is for
    /// the end: until then, a block that was Hamlet's stays so.
    pub fn announce_block(&self, record: &mut Record) {
        if self.is_of_block() && self.asked.flag("blocked") == Some(true) {
            record.own_block = Some(self.reason().unwrap_or_default());
        }
    }

    /// Whether what it does to the block is for the mark in the record. A soft deletion leaves the mark for its reversal.
    const fn is_of_block(&self) -> bool {
        matches!(
            self.kind,
            ChangeKind::Update | ChangeKind::Block | ChangeKind::Unblock
        )
    }

    /// The requested reason. Without one, that of the instance stays, and any is Hamlet's until it is copied.
    fn reason(&self) -> Option<String> {
        let reason = self.asked.text("blocking_reason")?;
        Some(if reason.is_empty() { UNKNOWN } else { reason }.to_owned())
    }
}

#[cfg(test)]
mod tests;
