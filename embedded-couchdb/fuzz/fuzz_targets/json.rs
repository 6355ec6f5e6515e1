//! Texts in JSON, read by this crate and by `serde_json`.

#![no_main]

#[path = "../reference.rs"]
mod reference;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| reference::json(bytes));
