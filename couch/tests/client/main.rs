//! Tests of the client's public API: against the embedded server, against a real CouchDB if
//! `HAMLET_TEST_COUCHDB_URL` (with `user:password@`) names one, against a real cluster if
//! `HAMLET_TEST_COUCHDB_CLUSTER` names its nodes, and against servers that misbehave.

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
