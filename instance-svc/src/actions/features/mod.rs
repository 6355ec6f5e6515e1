//! Feature flags: reading those that apply, and changing those of contexts and of all instances. Those of one instance
//! are fields of it.

pub(crate) mod change;
pub(crate) mod list;
