//! The instance service from the outside: a database, fakes of the other services, and replicas that can be
//! made to fail. One file per subject.
//!
//! All tests are in one program, because each further program would compile and link the same code again.
//! `secrecy` is separate, because it inspects everything that a process logs.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a failed expectation is the test failing"
)]

mod adoption;
mod behind;
mod beside;
mod change_races;
mod changes;
mod contested;
mod destruction;
mod early_claim;
mod faults;
mod host_changes;
mod marks;
mod orphans;
mod passphrase;
mod reported_end;
mod requests;
mod returned;
mod rolling_restart;
mod schedules;
mod soft_delete;
mod support;
