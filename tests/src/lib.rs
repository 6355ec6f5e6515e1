//! Support for black-box tests, which use real programs, real sockets and a real database.
//!
//! - [`admin_door`] makes requests to the admin door as existing command lines do
//! - [`browser`] does what the browser of a person does
//! - [`chromium`] runs a real one
//! - [`programs`] builds and finds the programs
//! - [`raw`] sends requests byte for byte
//! - [`daemon`] runs a `hamletd`
//! - [`certificates`] creates certificates for servers
//! - [`collector`] receives traces
//! - [`cluster`] runs an installation of separate processes
//! - [`cli`] runs the command line as a user does
//! - [`grpc`] makes calls as internal tools do
//! - [`mailed`] runs a `hamletd` that sends mail to a server of the test
//! - [`load`] makes calls continuously, and reports failures
//! - [`original`] does what the original's server does to a database
//! - [`database`] runs a database outside of `hamletd`, and inspects it
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "in tests, a failed expectation is the test failing"
)]

pub mod admin_door;
pub mod browser;
pub mod certificates;
pub mod chromium;
pub mod cli;
pub mod cluster;
pub mod collector;
pub mod daemon;
pub mod database;
pub mod grpc;
pub mod load;
pub mod mailed;
pub mod original;
pub mod programs;
pub mod raw;
