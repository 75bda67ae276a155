//! Asserts what `moorgate_wire::fuzzing::socks5_client` says.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| moorgate_wire::fuzzing::socks5_client(data));
