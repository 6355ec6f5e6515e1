//! The instance service: the life of an instance.
//!
//! From the outside in: `api` takes the calls of the contracts; `actions` answers, or asks for an operation;
//! `operations` drives what changes more than one document; `messages` turns the domain's types into those of
//! the contracts and back; `domain` holds names, states and rules, and does no I/O; `store` knows which
//! documents lie in which database.

mod actions;
mod api;
pub mod clock;
mod config;
pub mod domain;
mod error;
mod messages;
pub mod operations;
pub mod program;
mod serve;
mod store;

pub use config::Config;
pub use error::Error;
pub use operations::{Peers, Settings};
pub use serve::{Given, ORPHAN_GRACE, ServeError, serve};
pub use store::{OperationLog, Store};
