//! Changes that the service itself makes to an instance's record.

use serde::{Deserialize, Serialize};

use crate::domain::{
    record::{Blocking, Record},
    time::{OptionalTime, Time},
};

/// Changes that the service itself makes to the record. `None` leaves a field unchanged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordPatch {
    /// When the register token expires.
    pub register_expires_at: Option<OptionalTime>,
    /// The change of the soft deletion.
    pub deletion: Option<SoftDeletion>,
}

/// A change of the soft deletion.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SoftDeletion {
    /// The instance is deleted softly.
    Begin {
        /// When it was requested.
        deleted_at: Time,
        /// When the instance is to be destroyed.
        purge_at: Time,
    },
    /// The instance is restored.
    TakeBack,
}

impl RecordPatch {
    /// When a softly deleted instance is to be destroyed.
    #[must_use]
    pub const fn purge_at(&self) -> Option<Time> {
        match self.deletion {
            Some(SoftDeletion::Begin { purge_at, .. }) => Some(purge_at),
            Some(SoftDeletion::TakeBack) | None => None,
        }
    }

    pub(super) fn apply(&self, record: &mut Record, blocked_before: Option<&Blocking>) {
        if let Some(OptionalTime(time)) = self.register_expires_at {
            record.register_expires_at = time;
        }
        match self.deletion {
            None => {}
            Some(SoftDeletion::Begin {
                deleted_at,
                purge_at,
            }) => {
                record.deleted_at = Some(deleted_at);
                record.purge_at = Some(purge_at);
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
