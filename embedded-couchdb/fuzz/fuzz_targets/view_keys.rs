//! Keys of views and indexes: the encoded form has their order.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| embedded_couchdb::fuzzing::view_keys(bytes));
