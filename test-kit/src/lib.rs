//! Test support for all crates. Only tests depend on it.
//!
//! - [`eventually()`] waits for a condition, with a deadline and a useful failure message
//! - [`real_nodes`] (feature `database`) kills and starts the nodes of a real cluster
//! - [`Nobody`] is an address at which nobody listens
//! - [`dice`] generates random numbers that a seed reproduces
//! - [`database`] (feature `database`) provides a database: the embedded one, or the CouchDB that the environment names
//! - [`cluster`] (feature `database`) models a cluster of three CouchDB nodes that can die, hang and come back
//! - [`mail`] (feature `mail`) is a mail server that keeps what it gets
//! - [`doors`] (feature `grpc`) provides clients with the cluster key or the admin credential
//! - [`routes`] compares the routes of a router with a list
//! - [`fake`] (feature `grpc`) serves any contract with the answers that a test sets, and records the calls
//!
//! It may depend on the databases, the contracts and `service-kit`, but never on a service, the gateway or the command
//! line, because those are under test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "in tests, a failed expectation is the test failing"
)]

#[cfg(feature = "database")]
pub mod cluster;
#[cfg(feature = "database")]
pub mod database;
pub mod dice;
#[cfg(feature = "grpc")]
pub mod doors;
pub mod eventually;
#[cfg(feature = "grpc")]
pub mod fake;
#[cfg(feature = "mail")]
pub mod mail;
mod nobody;
#[cfg(feature = "database")]
pub mod real_nodes;
pub mod routes;

pub use eventually::{eventually, eventually_blocking};
pub use nobody::Nobody;
