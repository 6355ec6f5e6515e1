//! What an owner does in a real browser. Without `chromedriver` on the PATH, these tests say so and pass.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed expectation is the test failing"
)]

mod mail;
mod owner;
