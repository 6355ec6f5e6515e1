//! How results are printed that several commands have.
//!
//! - [`operation`]: an operation
//! - [`outcome`]: the outcome of an operation that has ended

pub(crate) mod operation;
pub(crate) mod outcome;
