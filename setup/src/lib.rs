//! What a fresh installation needs once: secrets, and a CouchDB that is set up.
//!
//! Every command may be repeated: what is done is left as it is. Nothing that is secret is printed.

mod couchdb;
mod program;
mod secrets;

pub use program::{command, run};
