//! Changes on running traffic: the next connection follows, what is open is not touched, and a removal cuts its own.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use super::support::{Client, TlsOrigin, Uploaded, ask, get, rest, route, tcp};
use crate::{
    gateway::{Gateway, Setup, raise_descriptors},
    target::{Target, ok},
};

const NAME: &str = "app.test";

#[test]
fn a_route_is_served_when_the_command_has_ended_and_kept_over_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let origin = Target::http(|_| ok("hi"));
    let gateway = Setup::default().data_dir(directory.path()).start();
    let explained = gateway.cli(&["explain", NAME]);
    assert!(explained.contains("no route"), "{explained}");
    route(&gateway, NAME, "terminate", &[&format!("http://{}", origin.address)], &["--max-body", "100"]);
    let mut client = Client::of(&gateway).connect(gateway.address("inbound_tls"), NAME);
    assert_eq!(ask(&mut client, get(NAME, "/", "")).status, 200);
    let explained = gateway.cli(&["explain", NAME]);
    assert!(explained.contains("terminate") && explained.contains(&origin.address.to_string()), "{explained}");
    let before = gateway.cli_json(&["route", "show", NAME]);
    drop((client, gateway));
    let gateway = Setup::default().data_dir(directory.path()).start();
    let mut after = gateway.cli_json(&["route", "show", NAME]);
    after["origins"][0]["open"] = before["origins"][0]["open"].clone();
    assert_eq!(after, before);
    let mut client = Client::of(&gateway).connect(gateway.address("inbound_tls"), NAME);
    assert_eq!(ask(&mut client, get(NAME, "/", "")).status, 200);
}

#[test]
fn a_removal_cuts_that_routes_connections_within_a_second_and_no_others() {
    let gateway = Gateway::start();
    let (app, bank) = (Target::http(|_| ok("hi")), TlsOrigin::echo(&["bank.test", "other.test"]));
    let url = format!("tls://{}", bank.address);
    route(&gateway, NAME, "terminate", &[&format!("http://{}", app.address)], &[]);
    route(&gateway, "bank.test", "passthrough", &[&url], &[]);
    route(&gateway, "other.test", "passthrough", &[&url], &[]);
    let address = gateway.address("inbound_tls");
    let mut idle = Client::of(&gateway).connect(address, NAME);
    assert_eq!(ask(&mut idle, get(NAME, "/", "")).status, 200);
    let mut tunnel = bank.client().connect(address, "bank.test");
    let mut other = bank.client().connect(address, "other.test");
    let echo = |stream: &mut super::support::Secure| {
        stream.write_all(b"ping").unwrap();
        stream.read_exact(&mut [0; 4]).unwrap();
    };
    echo(&mut tunnel);
    echo(&mut other);
    for (domain, stream) in [(NAME, &mut idle), ("bank.test", &mut tunnel)] {
        gateway.cli(&["route", "remove", domain]);
        let since = Instant::now();
        rest(stream);
        assert!(since.elapsed() < Duration::from_secs(1), "{domain} was cut after {:?}", since.elapsed());
        let mut refused = tcp(address);
        refused.write_all(&Client::of(&gateway).hello(domain)).unwrap();
        assert_eq!(rest(&mut refused), [21, 3, 3, 0, 2, 2, 112]);
    }
    echo(&mut other);
    gateway.wait_flow(|flow| flow["route"] == "bank.test" && flow["outcome"] == "revoked");
}

/// WebSockets, and as many passthrough tunnels.
const OPEN: usize = 1_000;
const EDITS: u32 = 500;

#[test]
fn five_hundred_edits_close_none_of_a_thousand_websockets_and_as_many_tunnels() {
    raise_descriptors();
    let gateway = Gateway::start();
    let origin = TlsOrigin::echo(&["bank.test"]);
    let socket = Target::new("127.0.0.1:0", |mut conn| {
        conn.head();
        conn.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
        let mut stream: TcpStream = conn.stream;
        let mut piece = [0; 64];
        while let Ok(read @ 1..) = stream.read(&mut piece) {
            if stream.write_all(&piece[..read]).is_err() {
                break;
            }
        }
    });
    route(&gateway, "bank.test", "passthrough", &[&format!("tls://{}", origin.address)], &[]);
    route(&gateway, NAME, "terminate", &[&format!("http://{}", socket.address)], &[]);
    let (ours, theirs, address) = (Client::of(&gateway), origin.client(), gateway.address("inbound_tls"));
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    let mut open: Vec<_> = (0..OPEN)
        .flat_map(|_| {
            let mut websocket = ours.connect(address, NAME);
            assert_eq!(ask(&mut websocket, get(NAME, "/", upgrade)).status, 101);
            [websocket, theirs.connect(address, "bank.test")]
        })
        .collect();
    for number in 0..EDITS {
        let body = serde_json::json!({ "check": { "every": 1 + number } });
        let domain = if number % 2 == 0 { NAME } else { "bank.test" };
        let (status, said) = crate::talk::api(&gateway, "PATCH", &format!("/api/v1/routes/{domain}"), Some(&body));
        assert_eq!(status, 200, "{said}");
    }
    for stream in &mut open {
        stream.write_all(b"still here").unwrap();
        let mut echoed = [0; 10];
        stream.read_exact(&mut echoed).unwrap();
        assert_eq!(&echoed, b"still here");
    }
    // And each edit held: the next ones are served by it.
    let shown = gateway.cli_json(&["route", "show", "bank.test"]);
    assert_eq!(shown["check"]["every"], EDITS, "{shown}");
    theirs.connect(address, "bank.test");
}

#[test]
fn a_certificate_with_anothers_key_is_refused_and_every_route_goes_on() {
    let gateway = Gateway::start();
    let origin = Target::http(|_| ok("hi"));
    let url = format!("http://{}", origin.address);
    route(&gateway, NAME, "terminate", &[&url], &[]);
    route(&gateway, "other.test", "terminate", &[&url], &[]);
    let (good, other) = (Uploaded::for_names(&[NAME]), Uploaded::for_names(&[NAME]));
    let mixed = gateway.try_cli(&[
        "cert",
        "add",
        NAME,
        "--chain",
        good.chain().to_str().unwrap(),
        "--key",
        other.key().to_str().unwrap(),
    ]);
    assert!(!mixed.status.success());
    assert!(String::from_utf8_lossy(&mixed.stderr).contains("belongs to none"), "{mixed:?}");
    for name in [NAME, "other.test"] {
        let mut client = Client::of(&gateway).connect(gateway.address("inbound_tls"), name);
        assert_eq!(ask(&mut client, get(name, "/", "")).status, 200);
    }
}
