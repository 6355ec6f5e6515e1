//! Soft deletion, and its reversal.

use std::time::Duration;

use crate::{
    clock::Clock,
    domain::{
        change::{Change, ChangeKind, DELETED, RecordPatch, SoftDeletion},
        fields::Asked,
        spec::InvalidField,
    },
};

/// The longest time for which a softly deleted instance is kept: ten years.
const LONGEST_KEEP: Duration = Duration::from_secs(3650 * 86_400);

/// The change that softly deletes an instance, which is destroyed once `keep` has passed on the `clock`.
///
/// # Errors
/// When `keep` is too long.
pub(crate) fn begin(etag: &str, keep: Duration, clock: &Clock) -> Result<Change, InvalidField> {
    if keep > LONGEST_KEEP {
        return Err(InvalidField {
            field: "keep".to_owned(),
            wrong: "is longer than ten years; use a shorter time, or block the instance".to_owned(),
        });
    }
    Ok(Change {
        kind: ChangeKind::Delete,
        etag: etag.to_owned(),
        asked: Asked::default()
            .with("blocked", true)
            .with("blocking_reason", DELETED),
        record: RecordPatch {
            deletion: Some(SoftDeletion::Begin {
                deleted_at: clock.now(),
                purge_at: clock.after(keep),
            }),
            ..RecordPatch::default()
        },
        ..Change::default()
    })
}

/// The change that restores a softly deleted instance.
pub(crate) fn take_back(etag: &str) -> Change {
    Change {
        kind: ChangeKind::Undelete,
        etag: etag.to_owned(),
        record: RecordPatch {
            deletion: Some(SoftDeletion::TakeBack),
            ..RecordPatch::default()
        },
        ..Change::default()
    }
}
