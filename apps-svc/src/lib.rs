//! The apps service: sources, manifests, installation and what an app may do.
//!
//! From the outside in: `api` translates between the contracts and the domain; `actions` holds one verb
//! a file; `sources` gets apps from where they are and `archive` unpacks them; `domain` holds sources,
//! manifests and documents, and does no I/O; `store` knows the documents of an instance, `contents` the
//! bytes of its apps.

mod actions;
mod api;
mod archive;
mod config;
mod contents;
mod domain;
mod error;
pub mod program;
mod serve;
mod sources;
mod store;

pub use config::Config;
pub use error::Error;
pub use serve::{Given, ServeError, serve};
