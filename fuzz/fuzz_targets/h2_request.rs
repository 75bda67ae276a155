//! Asserts what `moorgate_proxy::fuzzing::h2_request` says.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| moorgate_proxy::fuzzing::h2_request(data));
