//! The steps of every operation, in order.
//!
//! A new step is added here and in the `match` of its operation; the tests that make each step fail,
//! run twice and die are generated from these lists.

use super::{change::ChangeKind, operation::Operation};

/// A step of any operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// Of a creation.
    Create(CreateStep),
    /// Of a destruction.
    Destroy(DestroyStep),
    /// Of a change.
    Change(ChangeStep),
    /// Of removing orphans.
    Orphans(OrphanStep),
}

/// The steps of a creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CreateStep {
    /// The names are claimed.
    Claims,
    /// The databases are made, with their indexes, views and first documents, and with root, trash and the
    /// default directories; our own document is written beside.
    Databases,
    /// The apps are installed.
    Apps,
    /// What was made is looked at.
    Look,
    /// The instance document is written: from now on the instance exists.
    Publish,
}

/// The steps of a destruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DestroyStep {
    /// The instance is taken for this operation and flagged, so that nobody uses it any more.
    Flag,
    /// Its contents are removed.
    Bytes,
    /// Its databases are removed.
    Databases,
    /// What is left is looked for, and removed.
    Look,
    /// The instance document is removed.
    Unpublish,
    /// Our own document is removed.
    Record,
    /// The names are given back: only now are they free.
    Claims,
    /// Everything is looked for once more.
    Prove,
}

/// The steps of a change of an instance that exists. One that has nothing to do asks nothing of the
/// database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChangeStep {
    /// The instance is taken for this operation, and what the change needs is worked out.
    Take,
    /// The added names are claimed.
    Claims,
    /// The owner's settings are written.
    Settings,
    /// The databases of sessions are removed.
    Sessions,
    /// The instance document is written.
    Document,
    /// The removed names are given back.
    Release,
    /// Our own document is written, and the instance is free again.
    Record,
}

/// The steps of removing what belongs to nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OrphanStep {
    /// Contents are removed.
    Contents,
    /// Databases are removed.
    Databases,
    /// Our own documents are removed.
    Records,
    /// Names are given back.
    Claims,
}

impl CreateStep {
    /// All steps, in order.
    pub const ALL: &'static [Step] = &[
        Step::Create(Self::Claims),
        Step::Create(Self::Databases),
        Step::Create(Self::Apps),
        Step::Create(Self::Look),
        Step::Create(Self::Publish),
    ];

    /// How many steps can be taken back. When the one after them, [`CreateStep::Look`], is next and was
    /// written down as such, the creation only goes forward.
    pub const POINT_OF_NO_RETURN: usize = 3;
}

impl DestroyStep {
    /// All steps, in order.
    pub const ALL: &'static [Step] = &[
        Step::Destroy(Self::Flag),
        Step::Destroy(Self::Bytes),
        Step::Destroy(Self::Databases),
        Step::Destroy(Self::Look),
        Step::Destroy(Self::Unpublish),
        Step::Destroy(Self::Record),
        Step::Destroy(Self::Claims),
        Step::Destroy(Self::Prove),
    ];
}

impl ChangeStep {
    /// All steps, in order.
    pub const ALL: &'static [Step] = &[
        Step::Change(Self::Take),
        Step::Change(Self::Claims),
        Step::Change(Self::Settings),
        Step::Change(Self::Sessions),
        Step::Change(Self::Document),
        Step::Change(Self::Release),
        Step::Change(Self::Record),
    ];

    /// How many steps can be taken back. From [`ChangeStep::Settings`] on, the first that writes what
    /// others see, a change only goes forward.
    pub const POINT_OF_NO_RETURN: usize = 2;
}

impl OrphanStep {
    /// All steps, in order.
    pub const ALL: &'static [Step] = &[
        Step::Orphans(Self::Contents),
        Step::Orphans(Self::Databases),
        Step::Orphans(Self::Records),
        Step::Orphans(Self::Claims),
    ];
}

impl Step {
    /// Its name, as callers see it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Create(CreateStep::Claims)
            | Self::Destroy(DestroyStep::Claims)
            | Self::Change(ChangeStep::Claims) => "claims",
            Self::Create(CreateStep::Databases) | Self::Destroy(DestroyStep::Databases) => {
                "databases"
            }
            Self::Create(CreateStep::Apps) => "apps",
            Self::Create(CreateStep::Look) | Self::Destroy(DestroyStep::Look) => "look",
            Self::Destroy(DestroyStep::Record) | Self::Change(ChangeStep::Record) => "record",
            Self::Create(CreateStep::Publish) => "publish",
            Self::Destroy(DestroyStep::Flag) => "flag",
            Self::Destroy(DestroyStep::Bytes) => "bytes",
            Self::Destroy(DestroyStep::Unpublish) => "unpublish",
            Self::Destroy(DestroyStep::Prove) => "prove",
            Self::Change(ChangeStep::Take) => "take",
            Self::Change(ChangeStep::Settings) => "settings",
            Self::Change(ChangeStep::Sessions) => "sessions",
            Self::Change(ChangeStep::Document) => "document",
            Self::Change(ChangeStep::Release) => "release",
            Self::Orphans(OrphanStep::Contents) => "contents",
            Self::Orphans(OrphanStep::Databases) => "databases",
            Self::Orphans(OrphanStep::Records) => "records",
            Self::Orphans(OrphanStep::Claims) => "claims",
        }
    }

    /// Whether it may be broken off when the operation is cancelled; else it is waited for. What a call
    /// that was given up still does is not known, so only a step that may take long is worth it.
    #[must_use]
    pub const fn may_be_broken_off(self) -> bool {
        matches!(self, Self::Create(CreateStep::Apps))
    }

    /// Whether it only looks: it may then begin while the write before it is still on its way.
    #[must_use]
    pub const fn only_looks(self) -> bool {
        matches!(self, Self::Create(CreateStep::Look))
    }

    /// Whether the operation's document is written before this step begins. Every write costs; a step
    /// that is cheap to do twice needs none.
    #[must_use]
    pub fn is_written_down_before(self, operation: &Operation) -> bool {
        match self {
            // Installing may take long, and its outcome is told apart by app.
            Self::Create(CreateStep::Apps) => {
                operation.spec().is_some_and(|spec| !spec.apps.is_empty())
            }
            // Beyond lies no way back.
            Self::Create(CreateStep::Look) => true,
            Self::Create(CreateStep::Claims | CreateStep::Databases | CreateStep::Publish) => false,
            // What was counted as removed has to be known to the result.
            Self::Destroy(DestroyStep::Look | DestroyStep::Unpublish) | Self::Orphans(_) => true,
            Self::Destroy(
                DestroyStep::Flag
                | DestroyStep::Bytes
                | DestroyStep::Databases
                | DestroyStep::Record
                | DestroyStep::Claims
                | DestroyStep::Prove,
            ) => false,
            // Whoever takes over has to know which names to give back.
            Self::Change(ChangeStep::Claims) => operation
                .change()
                .is_some_and(|change| !change.added.is_empty()),
            // Beyond lies no way back.
            Self::Change(ChangeStep::Settings) => true,
            // What was counted as removed has to be known to the result.
            Self::Change(ChangeStep::Document) => operation
                .change()
                .is_some_and(|change| change.kind == ChangeKind::Sessions),
            Self::Change(
                ChangeStep::Take | ChangeStep::Sessions | ChangeStep::Release | ChangeStep::Record,
            ) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ChangeStep, CreateStep, Step};

    #[test]
    fn what_cannot_be_taken_back_is_looking_and_publishing() {
        let beyond = CreateStep::ALL.get(CreateStep::POINT_OF_NO_RETURN..);
        let expected = [CreateStep::Look, CreateStep::Publish].map(Step::Create);
        assert_eq!(beyond, Some(expected.as_slice()));
    }

    #[test]
    fn a_change_turns_back_only_before_it_writes_what_others_see() {
        assert_eq!(
            ChangeStep::ALL.get(ChangeStep::POINT_OF_NO_RETURN),
            Some(&Step::Change(ChangeStep::Settings))
        );
    }
}
