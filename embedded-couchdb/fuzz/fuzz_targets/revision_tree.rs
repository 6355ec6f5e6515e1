//! Trees of revisions: the same whatever the order in which revisions come.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| embedded_couchdb::fuzzing::revision_tree(bytes));
