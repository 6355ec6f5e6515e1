//! What the service itself changes in our own document of an instance.

use serde::{Deserialize, Serialize};

use crate::domain::record::{Blocking, Record};

/// What the service itself changes in our own document: `None` leaves it as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordPatch {
    /// When the register token expires, RFC 3339; an empty text clears it.
    pub register_expires_at: Option<String>,
    /// What becomes of a soft deletion.
    pub deletion: Option<SoftDeletion>,
}

/// What becomes of a soft deletion.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SoftDeletion {
    /// The instance is deleted softly.
    Begin {
        /// When it was asked for, RFC 3339.
        deleted_at: String,
        /// When it is destroyed, RFC 3339.
        purge_at: String,
    },
    /// It is brought back.
    TakeBack,
}

impl RecordPatch {
    /// When the instance is destroyed, of one that is deleted softly.
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
