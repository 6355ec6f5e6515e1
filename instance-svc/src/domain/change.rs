//! Changes of an instance that exists: what is asked, and what it does to each document.
//!
//! A change names the values that it wants, so that applying it twice is the same as once, and what other
//! software wrote in other fields is kept.

mod check;
mod patch;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use patch::{InstancePatch, RecordPatch, SoftDeletion};

use super::{
    claim::Wanted,
    instance::InstanceDocument,
    record::{Blocking, Record, Refusal},
};

/// The reason of an instance that is blocked because it was deleted softly.
pub const DELETED: &str = "DELETED";
/// The reason of an instance that is blocked for no reason told.
pub const UNKNOWN: &str = "UNKNOWN";

/// A change of an instance.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Which verb asked for it.
    pub kind: ChangeKind,
    /// What the instance has to be still; empty when that does not matter.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub etag: String,
    /// What becomes of the instance document.
    #[serde(default)]
    pub instance: InstancePatch,
    /// What becomes of settings; `None` clears one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub settings: BTreeMap<String, Option<String>>,
    /// Whether settings that are not named, and have no field of their own, are cleared too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub only_these_settings: bool,
    /// What becomes of our own document.
    #[serde(default)]
    pub record: RecordPatch,
    /// The names that it adds. Written down when the instance is taken.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub added: Vec<Wanted>,
    /// The names that it removes. Written down when the instance is taken.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removed: Vec<Wanted>,
    /// What a soft deletion found. Written down when the instance is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
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
        let (added, removed) = self.instance.names(document, record);
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
                self.instance.blocked = Some(before.blocked);
                self.instance.blocking_reason = Some(before.reason);
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
    /// over can do every step again without knowing how far the owner before came. Names have to be won
    /// first; and what a soft deletion and its opposite restore is seen only before they write.
    #[must_use]
    pub const fn is_decided_when_taken(&self) -> bool {
        !self.instance.changes_names()
            && !matches!(self.kind, ChangeKind::Delete | ChangeKind::Undelete)
    }

    /// Whether it does anything to our own document beside the copies of the instance document's fields.
    #[must_use]
    pub fn changes_record(&self) -> bool {
        self.record != RecordPatch::default()
    }

    /// Whether [`Self::settle`] has to look at the instance document.
    #[must_use]
    pub const fn needs_settling(&self) -> bool {
        self.instance.changes_names()
            || matches!(self.kind, ChangeKind::Delete | ChangeKind::Undelete)
    }

    /// Applies it to the instance document. Whether that changed anything.
    pub fn apply_to_document(&self, document: &mut InstanceDocument) -> bool {
        let before = document.clone();
        self.instance.apply(document);
        *document != before
    }

    /// Applies it to the owner's settings. Whether that changed anything.
    pub fn apply_to_settings(&self, settings: &mut Map<String, Value>) -> bool {
        let before = settings.clone();
        if self.only_these_settings {
            // What is no text is not shown to callers, so they do not ask for its end.
            settings.retain(|name, value| {
                has_own_field(name) || !value.is_string() || self.settings.contains_key(name)
            });
        }
        for (name, value) in &self.settings {
            match value {
                Some(value) => {
                    settings.insert(name.clone(), Value::String(value.clone()));
                }
                None => {
                    settings.remove(name);
                }
            }
        }
        *settings != before
    }

    /// Whether it does anything to the owner's settings.
    #[must_use]
    pub fn changes_settings(&self) -> bool {
        self.only_these_settings || !self.settings.is_empty()
    }

    /// Whether it does anything to the instance document.
    #[must_use]
    pub fn changes_document(&self) -> bool {
        self.instance != InstancePatch::default()
    }

    /// Applies it to our own document: its own fields, and the copies of the instance document's.
    pub fn apply_to_record(&self, record: &mut Record) {
        if let Some(aliases) = &self.instance.domain_aliases {
            record.domain_aliases.clone_from(aliases);
        }
        if let Some(old_domain) = &self.instance.old_domain {
            record.old_domain.clone_from(old_domain);
        }
        if let Some(locale) = &self.instance.locale {
            record.locale.clone_from(locale);
        }
        if let Some(context) = &self.instance.context {
            record.context.clone_from(context);
        }
        self.record.apply(record, self.blocked_before.as_ref());
    }
}

/// Whether a setting is shown in a field of its own.
fn has_own_field(name: &str) -> bool {
    ["tz", "email", "public_name", "phone"].contains(&name)
}

#[cfg(test)]
mod tests;
