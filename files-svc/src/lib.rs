//! The files service: the tree of an instance.
//!
//! From the outside in: `api` translates between the contract and the domain; `actions` holds one action per file;
//! `domain` holds names, paths, documents and their order, and does no I/O; `store` reads and writes the documents of
//! an instance, `contents` its files' contents, `folders` its folder on a file store of other software.

mod actions;
mod api;
mod config;
mod contents;
mod domain;
mod error;
mod folders;
pub mod program;
mod serve;
mod store;

pub use config::Config;
pub use serve::{Dependencies, ServeError, serve};
