//! Prepares a new installation: creates secrets, and sets CouchDB up.
//!
//! Every command is idempotent: existing secrets and finished setups are left unchanged. Secrets are never printed.

mod couchdb;
mod program;
mod secrets;

pub use program::{command, run};
