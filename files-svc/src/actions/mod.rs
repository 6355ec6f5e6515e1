//! What can be done with a tree: one action per file.

pub(crate) mod authorize;
pub(crate) mod check;
pub(crate) mod get;
pub(crate) mod list;
pub(crate) mod plan_directories;
pub(crate) mod prepare;
pub(crate) mod usage;
pub(crate) mod walk;
