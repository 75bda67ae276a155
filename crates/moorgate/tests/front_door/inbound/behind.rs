//! Behind a load balancer: its PROXY header is required from where it is, and refused from everywhere else.

use std::io::Write;

use super::support::{Client, ask, get, rest, route, tcp};
use crate::{
    gateway::{Gateway, Setup, eventually},
    talk::Talk,
    target::{Target, ok},
    tools::{run, tool},
};

#[test]
fn a_trusted_load_balancer_says_who_the_client_is_and_must() {
    let origin = Target::http(|_| ok("hi"));
    let gateway = Setup::default().env("MOORGATE_INBOUND_TRUST_PROXY_PROTOCOL_FROM", "127.0.0.1/32").start();
    let url = format!("http://{}", origin.address);
    route(&gateway, "app.test", "terminate", &[&url], &["--http", "forward", "--deny-client", "203.0.113.0/24"]);
    for (from, status) in [("198.51.100.7", 200), ("203.0.113.9", 403)] {
        let header = format!("PROXY TCP4 {from} 192.0.2.1 1234 80\r\n");
        let mut talk = Talk::to(gateway.address("inbound_http"));
        talk.send(header + &get("app.test", "/", ""));
        assert_eq!(talk.reply().status, status, "{from}");
    }
    assert!(origin.seen().requests[0].to_ascii_lowercase().contains("x-forwarded-for: 198.51.100.7\r\n"));
    let flow = gateway.wait_flow(|flow| flow["status"] == 200);
    assert_eq!(flow["client"], "198.51.100.7:1234");
    // In front of TLS too, in version 2.
    let mut stream = tcp(gateway.address("inbound_tls"));
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    header.extend_from_slice(&[198, 51, 100, 8, 192, 0, 2, 1, 4, 210, 1, 187]);
    stream.write_all(&header).unwrap();
    let mut client = Client::of(&gateway).over(stream, "app.test");
    assert_eq!(ask(&mut client, get("app.test", "/", "")).status, 200);
    gateway.wait_flow(|flow| flow["client"] == "198.51.100.8:1234");
    // Without one it is nobody.
    for listener in ["inbound_http", "inbound_tls"] {
        let mut stream = tcp(gateway.address(listener));
        stream.write_all(get("app.test", "/", "").as_bytes()).unwrap();
        assert_eq!(rest(&mut stream), b"", "{listener}");
    }
    assert_eq!(origin.seen().requests.len(), 2);
}

#[test]
fn an_origin_that_is_told_who_the_client_is_gets_a_connection_for_each() {
    let origin = Target::http(|_| ok("hi"));
    let gateway = Gateway::start();
    let url = format!("http://{}", origin.address);
    route(&gateway, "app.test", "terminate", &[&url], &["--proxy-protocol", "v1"]);
    let mut wanted = Vec::new();
    for _ in 0..3 {
        let stream = tcp(gateway.address("inbound_tls"));
        wanted.push(format!("PROXY TCP4 127.0.0.1 127.0.0.1 {} ", stream.local_addr().unwrap().port()));
        let mut client = Client::of(&gateway).over(stream, "app.test");
        assert_eq!(ask(&mut client, get("app.test", "/", "")).status, 200);
    }
    let seen = origin.seen();
    assert_eq!(seen.requests.len(), wanted.len());
    for (request, begins) in seen.requests.iter().zip(wanted) {
        assert!(request.starts_with(&begins), "{begins}: {request}");
    }
}

#[test]
fn one_address_has_so_many_connections_that_routes_let_in_and_no_more() {
    let origin = Target::http(|_| ok("hi"));
    let url = format!("http://{}", origin.address);
    let gateway = Setup::default().env("MOORGATE_LIMITS_INBOUND_PER_CLIENT", "2").start();
    route(&gateway, "app.test", "terminate", &[&url], &[]);
    route(&gateway, "bank.test", "passthrough", &[&format!("tls://{}", origin.address)], &[]);
    let client = Client::of(&gateway);
    let mut open: Vec<_> = (0..2).map(|_| client.connect(gateway.address("inbound_tls"), "app.test")).collect();
    for client in &mut open {
        assert_eq!(ask(client, get("app.test", "/", "")).status, 200);
    }
    let answer = ask(&mut client.connect(gateway.address("inbound_tls"), "app.test"), get("app.test", "/", ""));
    assert_eq!(answer.status, 503);
    assert!(answer.field("proxy-status").unwrap().contains("code=\"full\""), "{}", answer.head);
    let mut tunnel = tcp(gateway.address("inbound_tls"));
    tunnel.write_all(&client.hello("bank.test")).unwrap();
    rest(&mut tunnel);
    for route in ["app.test", "bank.test"] {
        let flow = gateway.wait_flow(|flow| flow["outcome"] == "full" && flow["route"] == route);
        assert!(flow["said"].as_str().unwrap().contains("inbound_per_client"), "{flow}");
    }
    drop(open);
    eventually("a place", || {
        let mut stream = tcp(gateway.address("inbound_http"));
        stream.write_all(get("app.test", "/", "Connection: close\r\n").as_bytes()).unwrap();
        rest(&mut stream).starts_with(b"HTTP/1.1 308 ").then_some(())
    });
}

#[test]
fn behind_a_load_balancer_clients_count_for_their_own_addresses() {
    let origin = Target::http(|_| ok("hi"));
    let url = format!("http://{}", origin.address);
    let gateway = Setup::default()
        .env("MOORGATE_INBOUND_TRUST_PROXY_PROTOCOL_FROM", "127.0.0.1/32")
        .env("MOORGATE_LIMITS_INBOUND_PER_CLIENT", "2")
        .start();
    route(&gateway, "app.test", "terminate", &[&url], &["--http", "forward"]);
    let talk = |from: &str| {
        let mut talk = Talk::to(gateway.address("inbound_http"));
        talk.send(format!("PROXY TCP4 {from} 192.0.2.1 1234 80\r\n") + &get("app.test", "/", ""));
        talk
    };
    let mut open = Vec::new();
    for from in ["198.51.100.7", "198.51.100.7", "198.51.100.8", "198.51.100.9"] {
        let mut one = talk(from);
        assert_eq!(one.reply().status, 200, "{from}");
        open.push(one);
    }
    assert_eq!(talk("198.51.100.7").reply().status, 503);
    let flow = gateway.wait_flow(|flow| flow["outcome"] == "full");
    assert_eq!(flow["client"], "198.51.100.7:1234");
}

#[test]
fn the_command_that_a_new_route_is_tried_with_says_whom_it_comes_for_where_that_is_wanted() {
    let origin = Target::http(|_| ok("hi"));
    for trusted in ["127.0.0.1/32", "10.0.0.0/8"] {
        let gateway = Setup::default().env("MOORGATE_INBOUND_TRUST_PROXY_PROTOCOL_FROM", trusted).start();
        let added =
            gateway.cli(&["route", "add", "app.test", &format!("http://{}", origin.address), "--mode", "terminate"]);
        let command = added.lines().find_map(|line| line.trim().strip_prefix("try it:")).expect("a command to try");
        assert_eq!(run(tool("sh").args(["-c", &format!("{command} -sS")])), "hi", "{command}");
    }
}
