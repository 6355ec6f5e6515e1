//! The instance service: the life of an instance.
//!
//! From the outside in: `api` translates between the contracts and the domain; `operations` drives what
//! changes more than one document; `domain` holds names, states and rules, and does no I/O; `store`
//! knows which documents lie in which database.

mod actions;
mod api;
pub mod clock;
mod config;
pub mod domain;
mod error;
pub mod operations;
pub mod program;
mod serve;
mod store;

pub use config::Config;
pub use error::Error;
pub use operations::{Peers, Settings};
pub use serve::{Given, ServeError, serve};
pub use store::Store;
