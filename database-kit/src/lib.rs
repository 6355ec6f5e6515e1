//! What the services that keep data in CouchDB share. `couch` and `service-kit` do not know each
//! other; this crate knows both.
//!
//! - [`connect`] and [`connect_members`]: from the settings to the servers of the databases
//! - [`wait_until_up`]: waiting for the database when a service starts
//! - [`status`]: database errors as callers see them

mod open;
mod status;

pub use open::{connect, connect_members, wait_until_up};
pub use status::status;
