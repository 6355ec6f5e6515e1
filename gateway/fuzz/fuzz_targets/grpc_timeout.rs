//! The `grpc-timeout` of a caller, and what the service is told.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gateway::fuzzing::grpc_timeout(bytes));
