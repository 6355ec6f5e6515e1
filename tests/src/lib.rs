//! What the black-box tests stand on: real programs, real sockets, a real database.
//!
//! - [`programs`] builds and finds the programs
//! - [`daemon`] runs a `hamletd`
//! - [`certificates`] makes certificates for servers
//! - [`collector`] takes traces
//! - [`cluster`] runs an installation of separate processes
//! - [`cli`] types commands as a person does
//! - [`grpc`] calls as internal tools do
//! - [`load`] calls without end, and tells what failed
//! - [`database`] runs a database apart from `hamletd`, and looks into it
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "in tests, a failed expectation is the test failing"
)]

pub mod certificates;
pub mod cli;
pub mod cluster;
pub mod collector;
pub mod daemon;
pub mod database;
pub mod grpc;
pub mod load;
pub mod programs;
