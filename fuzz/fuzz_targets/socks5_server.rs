//! Asserts what `moorgate_wire::fuzzing::socks5_server` says.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| moorgate_wire::fuzzing::socks5_server(data));
