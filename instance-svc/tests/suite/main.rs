//! The instance service from the outside: a database, the other services as operations use them, and replicas
//! that can be made to fail. One file a subject.
//!
//! All of it is one program: each more would compile and link the same again. What looks at everything that a
//! process logs (`secrecy`) is a program of its own.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a failed expectation is the test failing"
)]

mod adoption;
mod change_races;
mod changes;
mod contested;
mod destruction;
mod early_claim;
mod marks;
mod orphans;
mod passphrase;
mod requests;
mod rolling_restart;
mod schedules;
mod soft_delete;
mod steps;
mod support;
mod told;
