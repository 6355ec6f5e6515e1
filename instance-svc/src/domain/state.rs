//! The state of an instance, as callers see it.

use super::{change::DELETED, instance::InstanceDocument, record::Record};

/// The state of an instance. If several apply, the first one in this order counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It is being destroyed.
    Deleting,
    /// It is softly deleted, and can be restored.
    Deleted,
    /// Access is blocked.
    Blocked,
    /// Its owner can log in.
    Onboarded,
    /// It waits for its owner to set a passphrase.
    Onboarding,
    /// It has neither an owner nor a register token.
    Pending,
}

impl State {
    /// The state, derived from the instance's documents. An instance that other software has just made has no
    /// record.
    #[must_use]
    pub fn of(document: &InstanceDocument, record: Option<&Record>) -> Self {
        if document.deleting {
            Self::Deleting
        } else if record.is_some_and(|record| record.deleted_at.is_some()) {
            Self::Deleted
        } else if document.blocked {
            Self::Blocked
        } else if document.onboarding_finished {
            Self::Onboarded
        } else if document.register_token.is_empty() {
            Self::Pending
        } else {
            Self::Onboarding
        }
    }
}

/// Whether other software has set the state of an instance, and Hamlet has not. Then that software also says what is
/// still possible with it. Hamlet's own word counts for more: an instance that Hamlet has blocked, deleted softly or begun
/// to destroy is Hamlet's, whatever else was done to it.
///
/// Both set the same fields of the compatible document. The record tells them apart: `own_block` and `destroying` are
/// written before those fields are.
#[must_use]
pub fn is_set_by_other_software(document: &InstanceDocument, record: Option<&Record>) -> bool {
    let is_set = document.blocked || document.deleting;
    let Some(record) = record else {
        return is_set;
    };
    let is_own_block = document.blocked
        && (document.blocking_reason == DELETED
            || record.own_block.as_ref().is_some_and(|reason| {
                // An operation may be changing the reason.
                *reason == document.blocking_reason
                    || reason.is_empty()
                    || record.operation.is_some()
            }));
    is_set && !is_own_block && !record.destroying && record.deleted_at.is_none()
}

#[cfg(test)]
mod tests {
    use super::{DELETED, InstanceDocument, Record, State, is_set_by_other_software};
    use crate::domain::time::Time;

    #[test]
    fn the_most_severe_state_counts() {
        let mut document = InstanceDocument::default();
        let mut record = Record::default();
        let of = |document: &_, record: &_| State::of(document, Some(record));
        assert_eq!(of(&document, &record), State::Pending);
        document.register_token = "b2xk".to_owned();
        assert_eq!(of(&document, &record), State::Onboarding);
        document.onboarding_finished = true;
        assert_eq!(of(&document, &record), State::Onboarded);
        document.blocked = true;
        assert_eq!(of(&document, &record), State::Blocked);
        record.deleted_at = Some(Time::MIN);
        assert_eq!(of(&document, &record), State::Deleted);
        document.deleting = true;
        assert_eq!(of(&document, &record), State::Deleting);
        assert_eq!(State::of(&document, None), State::Deleting);
    }

    #[test]
    fn what_hamlet_sets_is_told_from_what_other_software_sets() {
        let mut document = InstanceDocument::default();
        let mut record = Record::default();
        let by_others = |document: &_, record: &_| is_set_by_other_software(document, Some(record));
        assert!(!by_others(&document, &record));
        document.blocked = true;
        document.blocking_reason = "LOGIN_FAILED".to_owned();
        assert!(by_others(&document, &record));
        assert!(is_set_by_other_software(&document, None));
        record.own_block = Some("PAYMENT_FAILED".to_owned());
        assert!(by_others(&document, &record), "it was replaced");
        document.blocking_reason = "PAYMENT_FAILED".to_owned();
        assert!(!by_others(&document, &record));

        document.blocked = false;
        document.deleting = true;
        assert!(by_others(&document, &record));
        record.deleted_at = Some(Time::MIN);
        assert!(!by_others(&document, &record));
        record.deleted_at = None;
        record.destroying = true;
        assert!(!by_others(&document, &record));

        let mut deleted = InstanceDocument::default();
        deleted.blocked = true;
        DELETED.clone_into(&mut deleted.blocking_reason);
        assert!(!by_others(&deleted, &Record::default()));
    }
}
