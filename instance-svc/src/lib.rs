//! The instance service: it manages the life cycle of instances.
//!
//! From the outside in: `api` handles the calls of the contracts; `actions` answers them, or requests an
//! operation; `operations` performs changes of more than one document; `messages` converts the domain's types
//! to those of the contracts and back; `host_changes` tells gateways which answers are outdated; `mail` sends mail; `domain` holds names, states and rules, and does no I/O; `store` knows
//! which documents lie in which database.

mod actions;
mod api;
pub mod clock;
mod config;
mod database_health;
pub mod domain;
mod error;
mod host_changes;
mod mail;
mod messages;
pub mod operations;
pub mod program;
mod serve;
mod store;

pub use config::Config;
pub use error::Error;
pub use operations::{Peers, Settings};
pub use serve::{Dependencies, ORPHAN_GRACE, ServeError, serve};
pub use store::{OperationLog, Store};
