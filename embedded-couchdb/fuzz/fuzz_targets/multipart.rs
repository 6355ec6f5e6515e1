//! Multipart bodies: what is read, and that what is written is read again.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| embedded_couchdb::fuzzing::multipart(bytes));
