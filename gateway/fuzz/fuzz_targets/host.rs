//! The host of a request, wherever the request names it.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gateway::fuzzing::host(bytes));
