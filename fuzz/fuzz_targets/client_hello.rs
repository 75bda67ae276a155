//! Asserts what `moorgate_wire::fuzzing::client_hello` says.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| moorgate_wire::fuzzing::client_hello(data));
