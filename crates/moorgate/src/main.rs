//! The moorgate binary: commands, the gateway's file, wiring.
fn main() {}
