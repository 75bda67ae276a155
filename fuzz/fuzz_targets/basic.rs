//! Asserts what `moorgate_wire::fuzzing::basic` says.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| moorgate_wire::fuzzing::basic(data));
