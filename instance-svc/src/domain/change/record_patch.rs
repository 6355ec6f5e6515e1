//! Changes that the service itself makes to an instance's record.

use serde::{Deserialize, Serialize};

use crate::domain::record::{Blocking, Record};

/// Changes that the service itself makes to the record. `None` leaves a field unchanged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordPatch {
    /// When the register token expires, RFC 3339; an empty string clears it.
    pub register_expires_at: Option<String>,
    /// The change of the soft deletion.
    pub deletion: Option<SoftDeletion>,
}

/// A change of the soft deletion.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SoftDeletion {
    /// The instance is deleted softly.
    Begin {
        /// When it was requested, RFC 3339.
        deleted_at: String,
        /// When the instance is to be destroyed, RFC 3339.
        purge_at: String,
    },
    /// The instance is restored.
    TakeBack,
}

impl RecordPatch {
    /// When a softly deleted instance is to be destroyed.
    #[must_use]
    pub fn purge_at(&self) -> Option<&str> {
        match &self.deletion {
            Some(SoftDeletion::Begin { purge_at, .. }) => Some(purge_at),
            Some(SoftDeletion::TakeBack) | None => None,
        }
    }

    pub(super) fn apply(&self, record: &mut Record, blocked_before: Option<&Blocking>) {
        if let Some(time) = &self.register_expires_at {
            record.register_expires_at = (!time.is_empty()).then(|| time.clone());
        }
        match &self.deletion {
            None => {}
            Some(SoftDeletion::Begin {
                deleted_at,
                purge_at,
            }) => {
                record.deleted_at = Some(deleted_at.clone());
                record.purge_at = Some(purge_at.clone());
                record.blocked_before = blocked_before.cloned();
            }
            Some(SoftDeletion::TakeBack) => {
                record.deleted_at = None;
                record.purge_at = None;
                record.blocked_before = None;
            }
        }
    }
}
