//! The client as its users see it: against the embedded server, against a real CouchDB when
//! `HAMLET_TEST_COUCHDB_URL` names one (with `user:password@`), a cluster likewise, and against peers that misbehave.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a failed expectation is the test failing"
)]

mod cluster;
mod credentials;
mod databases;
mod documents;
mod faults;
mod feed;
mod queries;
mod support;
mod wire;
