//! Flags and arguments that several commands share. What their values may be is in [`values`](crate::values); the
//! flags of an instance's fields are in [`fields`](crate::fields).
//!
//! - [`global`]: flags of every command, with [`format`] of the output
//! - [`request`]: flags of every change
//! - [`target`]: the instance to change

pub(crate) mod format;
pub(crate) mod global;
pub(crate) mod request;
pub(crate) mod target;
