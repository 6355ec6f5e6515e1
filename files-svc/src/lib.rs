//! The files service: the tree of an instance.
//!
//! From the outside in: `api` translates between the contracts and the domain; `actions` holds one verb
//! a file; `domain` holds names, paths, documents and their order, and does no I/O; `store` knows the
//! documents of an instance, `contents` its bytes.

mod actions;
mod api;
mod config;
mod contents;
mod domain;
mod error;
pub mod program;
mod serve;
mod store;

pub use config::Config;
pub use serve::{Given, ServeError, serve};
