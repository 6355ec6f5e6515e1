//! The headers by which proxies tell who a client is.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gateway::fuzzing::forwarded(bytes));
