//! A whole installation, used from the outside: real processes, real sockets, and the command line as a person types
//! it. One program holds all of these tests, because they mostly wait: so they wait at the same time.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a failed expectation is the test failing, and seeds and times are printed"
)]

mod admin_tls;
mod app_hosts;
mod apps;
mod backup;
mod bad_input;
mod beside;
mod changing;
mod cluster;
mod clusters;
mod consent;
mod contexts;
mod documentation;
mod door_recorded;
mod features;
mod file_store;
mod gateway_checks;
mod health;
mod in_front;
mod json_api;
mod json_recorded;
mod kill;
mod main_job;
mod mutations;
mod oauth;
mod older_data;
mod owner;
mod owner_mail;
mod owner_recorded;
mod owner_tokens;
mod ports;
mod public_door;
mod public_recorded;
mod reach;
mod recorded;
mod second_factor;
mod secrets;
mod telemetry;
mod tries;
