//! Secret values, and credentials that can be changed while they are in use.
//!
//! - [`Secret`] is one secret value.
//! - [`Keyring`] holds the current value of a credential and the other values that are still accepted.

mod keyring;
mod text;

pub use keyring::{Keyring, Rule};
pub use text::Secret;
