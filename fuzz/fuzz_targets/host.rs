//! Asserts what `moorgate_wire::fuzzing::host` says.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| moorgate_wire::fuzzing::host(data));
