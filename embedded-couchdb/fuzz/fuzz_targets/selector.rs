//! Selectors: what they match, and what would be read of an index for them.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| embedded_couchdb::fuzzing::selector(bytes));
