//! What the tests of all crates share. Only tests depend on it.
//!
//! - [`eventually()`] waits for what has to happen, with a deadline and a useful message
//! - [`dice`] draws numbers that a seed gives again
//! - [`database`] (feature `database`) starts a database: the embedded one, or the CouchDB that the environment
//!   names
//! - [`doors`] (feature `grpc`) calls services with the cluster key, and the admin door with its credential
//! - [`fake`] (feature `grpc`) serves any contract with the answers that a test gives, and notes what was asked
//!
//! It may know the databases, the contracts and `service-kit`, but never a service, the gateway or the command line:
//! those are what is tested.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "in tests, a failed expectation is the test failing"
)]

#[cfg(feature = "database")]
pub mod database;
pub mod dice;
#[cfg(feature = "grpc")]
pub mod doors;
pub mod eventually;
#[cfg(feature = "grpc")]
pub mod fake;

pub use eventually::{eventually, eventually_blocking};
