//! Changes of an instance that exists: what is asked, and what it does to each document.
//!
//! A change names the values that it wants, so that applying it twice is the same as once, and what other
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
    fields::{Asked, Documents, Now},
    instance::InstanceDocument,
    record::{Blocking, Record, Refusal},
    spec::{InvalidField, first_of},
};

/// The reason of an instance that is blocked because it was deleted softly.
pub const DELETED: &str = "DELETED";

/// A change of an instance.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(try_from = "stored::Stored", into = "stored::Stored")]
pub struct Change {
    /// Which verb asked for it.
    pub kind: ChangeKind,
    /// What the instance has to be still; empty when that does not matter.
    pub etag: String,
    /// The fields that are asked for; an empty value clears one.
    pub asked: Asked,
    /// What else becomes of our own document.
    pub record: RecordPatch,
    /// The names that it adds. Written down when the instance is taken.
    pub added: Vec<Wanted>,
    /// The names that it removes. Written down when the instance is taken.
    pub removed: Vec<Wanted>,
    /// What a soft deletion found. Written down when the instance is taken.
    pub blocked_before: Option<Blocking>,
}

/// The verbs that change an instance.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChangeKind {
    /// Sets fields.
    #[default]
    Update,
    /// Refuses access.
    Block,
    /// Gives access again.
    Unblock,
    /// Deletes softly: blocks, hides and sets a time for destroying.
    Delete,
    /// Takes a soft deletion back.
    Undelete,
    /// Makes a new register link.
    RegisterLink,
    /// Sets the passphrase.
    Passphrase,
    /// Ends all sessions.
    Sessions,
}

impl ChangeKind {
    /// All of them.
    pub const ALL: &'static [Self] = &[
        Self::Update,
        Self::Block,
        Self::Unblock,
        Self::Delete,
        Self::Undelete,
        Self::RegisterLink,
        Self::Passphrase,
        Self::Sessions,
    ];

    /// Its name, as callers see it.
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
        }
    }
}

impl Change {
    /// Checks the values and brings names into their canonical form. `document` and `record` are the
    /// instance as it is now.
    ///
    /// # Errors
    /// The first field that cannot be used.
    pub fn check(
        mut self,
        document: &InstanceDocument,
        record: &Record,
    ) -> Result<Self, InvalidField> {
        let now = Now {
            instance: document,
            record,
        };
        self.asked = self.asked.check(Some(now)).map_err(first_of)?;
        Ok(self)
    }

    /// Whether the state of the instance lets it begin.
    ///
    /// # Errors
    /// Why not.
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
            | ChangeKind::Sessions => {
                if record.deleted_at.is_some() {
                    Err(Refusal::Deleted)
                } else {
                    Ok(())
                }
            }
        }
    }

    /// Works out, from what the instance is when it is taken, what the later steps need: the names to
    /// claim and to give back, and what to restore.
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
                // Of two soft deletions in a row the first one saw how it was.
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
            | ChangeKind::Sessions => {}
        }
    }

    /// Whether it is decided when the instance is taken: nothing can refuse it after that, and whoever takes
    /// over can do every step again without knowing how far the owner before came. That does not hold where
    /// names have to be won first, where secrets are opened or a token is used up, and where a value is restored
    /// that is seen only before the first write.
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
                | ChangeKind::Passphrase => false,
            }
    }

    /// Whether it does anything to our own document beside the copies of the instance document's fields.
    #[must_use]
    pub fn changes_record(&self) -> bool {
        self.record != RecordPatch::default()
            || self.asked.touches(|kept| matches!(kept, Kept::Record(_)))
    }

    /// Whether [`Self::settle`] has to look at the instance document.
    #[must_use]
    pub fn needs_settling(&self) -> bool {
        self.changes_names() || matches!(self.kind, ChangeKind::Delete | ChangeKind::Undelete)
    }

    fn changes_names(&self) -> bool {
        let asked = self.asked.values();
        asked.contains_key("domain_aliases") || asked.contains_key("old_domain")
    }

    /// The names that are added to those the instance has, and those that are removed. What other
    /// software added to the document, and nobody has claimed yet, is claimed too where it stays.
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

    /// Applies it to the instance document. Whether that changed anything.
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

    /// Applies it to the owner's settings. Whether that changed anything.
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

    /// Whether it does anything to the owner's settings.
    #[must_use]
    pub fn changes_settings(&self) -> bool {
        self.asked.touches(|kept| matches!(kept, Kept::Settings(_)))
    }

    /// Whether it does anything to the instance document.
    #[must_use]
    pub fn changes_document(&self) -> bool {
        self.asked.touches(|kept| matches!(kept, Kept::Document(_)))
    }

    /// Applies it to our own document: its own fields, and the copies of the instance document's.
    pub fn apply_to_record(&self, record: &mut Record) {
        let mut documents = Documents {
            record: take(record),
            ..Documents::default()
        };
        self.asked.write(&mut documents);
        *record = documents.record;
        self.record.apply(record, self.blocked_before.as_ref());
    }
}

#[cfg(test)]
mod tests;
