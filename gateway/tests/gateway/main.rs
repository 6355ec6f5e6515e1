//! The gateway from the outside: real sockets, a fake instance service, and services that misbehave.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a failed expectation is the test failing"
)]

mod abuse;
mod admin;
mod backend;
mod calls;
mod cors;
mod directory;
mod exposure;
mod hosts;
mod http;
mod identities;
mod in_use;
mod lifecycle;
mod measures;
mod pages;
mod replicas;
mod strangers;
mod support;
