//! The state of an instance, as callers see it.

use super::{instance::InstanceDocument, record::Record};

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

#[cfg(test)]
mod tests {
    use super::{InstanceDocument, Record, State};
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
}
