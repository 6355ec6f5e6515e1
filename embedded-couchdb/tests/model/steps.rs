//! The random steps.

use proptest::prelude::*;

use crate::document::Sent;

#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Edits a leaf, another revision, or without a revision.
    Edit {
        doc: usize,
        target: Target,
        deleted: bool,
        value: i64,
        files: Attached,
        /// The administrator, or a user.
        by: Option<usize>,
    },
    /// Stores an attachment by itself.
    PutFile {
        doc: usize,
        target: Target,
        name: usize,
        sent: Sent,
    },
    DeleteFile {
        doc: usize,
        leaf: usize,
        name: usize,
    },
    /// Adds a branch of `length` revisions below a revision, or a new root.
    Replicate {
        doc: usize,
        below: Option<usize>,
        length: usize,
        name: u8,
        deleted: bool,
        value: i64,
        file: Option<(usize, Sent)>,
    },
    /// Purges a leaf.
    Purge {
        doc: usize,
        leaf: usize,
    },
    Compact,
    /// Reads a view from the first key to the last one.
    View {
        first: i64,
        last: i64,
    },
    /// Creates a user, or changes its password and its role.
    User {
        user: usize,
        role: usize,
    },
    DeleteUser {
        user: usize,
    },
    /// Logs a user in, with the right or a wrong password.
    Login {
        user: usize,
        is_right: bool,
    },
    /// Says who the members of the database are: users with a role, users by their names, or all.
    Members(Members),
}

#[derive(Clone, Debug)]
pub(crate) enum Target {
    None,
    Leaf(usize),
    Any(usize),
}

/// The attachments that an edit sends.
#[derive(Clone, Debug)]
pub(crate) struct Attached {
    /// Whether those of the edited revision are kept.
    pub(crate) keeps: bool,
    pub(crate) new: Option<(usize, Sent)>,
    /// Whether it has a stub that stands for nothing.
    pub(crate) has_ghost: bool,
}

#[derive(Clone, Debug)]
pub(crate) enum Members {
    Everybody,
    Role(usize),
    User(usize),
}

fn sent() -> impl Strategy<Value = Sent> {
    let bytes = prop_oneof![
        3 => prop::collection::vec(any::<u8>(), 0..40),
        1 => prop::collection::vec(97..99_u8, 5000..5010),
    ];
    (any::<bool>(), bytes).prop_map(|(is_text, bytes)| Sent { is_text, bytes })
}

fn attached() -> impl Strategy<Value = Attached> {
    let new = prop::option::weighted(0.3, (0..3_usize, sent()));
    (any::<bool>(), new, prop::bool::weighted(0.05)).prop_map(|(keeps, new, has_ghost)| Attached {
        keeps,
        new,
        has_ghost,
    })
}

fn target() -> impl Strategy<Value = Target> {
    prop_oneof![
        1 => Just(Target::None),
        5 => (0..4_usize).prop_map(Target::Leaf),
        1 => (0..8_usize).prop_map(Target::Any),
    ]
}

pub(crate) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let doc = || 0..4_usize;
    let user = || 0..3_usize;
    let gone = || prop::bool::weighted(0.2);
    let edit = (
        doc(),
        target(),
        gone(),
        -5..5_i64,
        attached(),
        prop::option::weighted(0.3, user()),
    );
    let file = prop::option::weighted(0.2, (0..3_usize, sent()));
    let branch = (
        doc(),
        prop::option::of(0..8_usize),
        1..4_usize,
        any::<u8>(),
        gone(),
        -5..5_i64,
        file,
    );
    let members = prop_oneof![
        Just(Members::Everybody),
        (0..2_usize).prop_map(Members::Role),
        user().prop_map(Members::User),
    ];
    let step = prop_oneof![
        12 => edit.prop_map(|(doc, target, deleted, value, files, by)| Step::Edit { doc, target, deleted, value, files, by }),
        4 => (doc(), target(), 0..3_usize, sent()).prop_map(|(doc, target, name, sent)| Step::PutFile { doc, target, name, sent }),
        2 => (doc(), 0..4_usize, 0..3_usize).prop_map(|(doc, leaf, name)| Step::DeleteFile { doc, leaf, name }),
        6 => branch.prop_map(|(doc, below, length, name, deleted, value, file)| Step::Replicate { doc, below, length, name, deleted, value, file }),
        2 => (doc(), 0..4_usize).prop_map(|(doc, leaf)| Step::Purge { doc, leaf }),
        2 => Just(Step::Compact),
        2 => (-6..5_i64, -5..6_i64).prop_map(|(first, last)| Step::View { first, last }),
        4 => (user(), 0..2_usize).prop_map(|(user, role)| Step::User { user, role }),
        1 => user().prop_map(|user| Step::DeleteUser { user }),
        3 => (user(), prop::bool::weighted(0.7)).prop_map(|(user, is_right)| Step::Login { user, is_right }),
        2 => members.prop_map(Step::Members),
    ];
    prop::collection::vec(step, 1..40)
}
