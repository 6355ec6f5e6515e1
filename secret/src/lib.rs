//! Credentials: texts that are never shown, and that can be changed while they are in use.
//!
//! - [`Secret`] is one such text
//! - [`Keyring`] holds the one that is in use and those beside it that are still accepted

mod keyring;
mod text;

pub use keyring::{Keyring, Rule};
pub use text::Secret;
