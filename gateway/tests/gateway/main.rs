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
mod directory;
mod exposure;
mod hosts;
mod http;
mod lifecycle;
mod measures;
mod onboarding;
mod pages;
mod replicas;
mod support;
