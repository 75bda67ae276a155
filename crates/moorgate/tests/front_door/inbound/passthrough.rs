//! Passthrough: the origin's own key, and every byte as it was sent.

use std::io::{Read, Write};

use sha2::{Digest, Sha256};
use test_ports::Port;

use super::support::{Client, TlsOrigin, certificate, rest, route, tcp};
use crate::{gateway::Gateway, site::noise, target::Target};

#[test]
fn the_origins_own_certificate_reaches_the_client_and_every_byte_is_exact() {
    let gateway = Gateway::start();
    let origin = TlsOrigin::echo(&["bank.test"]);
    route(&gateway, "bank.test", "passthrough", &[&format!("tls://{}", origin.address)], &[]);
    let mut client = origin.client().alpn(&["http/1.1"]).connect(gateway.address("inbound_tls"), "bank.test");
    assert_eq!(certificate(&client), origin.certificate);
    let sent = noise(4 << 20);
    let mut received = vec![0; sent.len()];
    for (up, down) in sent.chunks(50_000).zip(received.chunks_mut(50_000)) {
        client.write_all(up).unwrap();
        client.read_exact(down).unwrap();
    }
    assert_eq!(Sha256::digest(&received), Sha256::digest(&sent));
    client.conn.send_close_notify();
    client.flush().unwrap();
    drop(client);
    let flow = gateway.wait_flow(|flow| flow["target"] == "bank.test");
    assert_eq!(flow["mode"], "passthrough");
    assert_eq!(flow["route"], "bank.test");
    assert_eq!(flow["account"], "default");
    assert_eq!(flow["origin"], format!("tls://{}", origin.address));
    assert_eq!(flow["alpn"], "http/1.1");
    assert_eq!(flow["exposure"]["gateway"]["path"], false, "the gateway could not read it");
    assert_eq!(flow["exposure"]["gateway"]["name"], true);
    assert!(flow["bytes_up"].as_u64().unwrap() > sent.len() as u64);
}

#[test]
fn a_hello_in_any_number_of_pieces_reaches_the_origin_as_it_was_sent() {
    let gateway = Gateway::start();
    let origin = Target::new("127.0.0.1:0", |mut conn| while conn.request().is_some() {});
    route(&gateway, "bank.test", "passthrough", &[&format!("tls://{}", origin.address)], &[]);
    let hello = Client::of(&gateway).hello("bank.test");
    let mut sent = 0;
    for piece in [1, 7, 1_000, hello.len()] {
        let mut client = tcp(gateway.address("inbound_tls"));
        for part in hello.chunks(piece) {
            client.write_all(part).unwrap();
        }
        sent += hello.len();
        crate::gateway::eventually("the hello", || (origin.seen().bytes == sent).then_some(()));
    }
    // One byte of the handshake in each record.
    let body = &hello[5..];
    let records: Vec<u8> = body.iter().flat_map(|byte| [22, 3, 1, 0, 1, *byte]).collect();
    let mut client = tcp(gateway.address("inbound_tls"));
    client.write_all(&records).unwrap();
    sent += records.len();
    crate::gateway::eventually("the hello in small records", || (origin.seen().bytes == sent).then_some(()));
}

#[test]
fn an_origin_that_is_down_closes_and_says_so_in_the_flow() {
    let gateway = Gateway::start();
    let kept = Port::keep();
    let closed = kept.address();
    route(&gateway, "bank.test", "passthrough", &[&format!("tls://{closed}")], &[]);
    let mut client = tcp(gateway.address("inbound_tls"));
    client.write_all(&Client::of(&gateway).hello("bank.test")).unwrap();
    assert_eq!(rest(&mut client), b"", "nothing that pretends to be the origin");
    let flow = gateway.wait_flow(|flow| flow["target"] == "bank.test");
    assert_eq!(flow["outcome"], "connection_refused");
    let why = gateway.cli(&["why", flow["id"].as_str().unwrap()]);
    assert!(why.contains(&closed.to_string()), "{why}");
}
