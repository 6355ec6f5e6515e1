//! The apps service: sources, manifests, installation and permissions of apps.
//!
//! From the outside in: `api` translates between the contract and the domain; `actions` holds one action per file;
//! `sources` fetches apps and `archive` unpacks them; `domain` holds sources, manifests and documents, and does no I/O;
//! `store` reads and writes the documents of an instance, `contents` the files of its apps.

mod actions;
mod api;
mod archive;
mod code;
mod config;
mod contents;
mod domain;
mod error;
pub mod program;
mod serve;
mod sources;
mod store;

pub use config::{Config, SourceFlags};
pub use error::Error;
pub use serve::{Dependencies, ServeError, serve};
