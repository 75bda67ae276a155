use moorgate_wire::client_hello::{HelloReader, HelloStep};

use super::*;

#[test]
fn the_gateway_reads_the_server_name_of_it() {
    let hello = client_hello("bench.test");
    assert_eq!(hello.len(), SIZE);
    let HelloStep::Hello(read) = HelloReader::new().feed(&hello) else { panic!("not a whole ClientHello") };
    assert_eq!(read.server_name.unwrap().to_string(), "bench.test");
    assert_eq!(read.consumed, hello.len());
    assert!(read.tls13);
}

#[test]
fn a_long_name_makes_it_longer() {
    let name = format!("{}.{}.{}.test", "a".repeat(60), "b".repeat(60), "c".repeat(60));
    let hello = client_hello(&name);
    let HelloStep::Hello(read) = HelloReader::new().feed(&hello) else { panic!("not a whole ClientHello") };
    assert_eq!(read.server_name.unwrap().to_string(), name);
}
