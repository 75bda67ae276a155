//! Asserts what `moorgate_wire::fuzzing::path` says.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| moorgate_wire::fuzzing::path(data));
