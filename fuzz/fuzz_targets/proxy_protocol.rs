//! Asserts what `moorgate_wire::fuzzing::proxy_protocol` says.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| moorgate_wire::fuzzing::proxy_protocol(data));
