//! The first bytes of a connection, with a header of the PROXY protocol or without.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gateway::fuzzing::proxy_protocol(bytes));
