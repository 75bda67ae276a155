//! Who gets what: exact beats wildcard, and whatever is not exactly a route's name reaches no origin.

use std::io::Write;

use super::support::{Client, TlsOrigin, ask, certificate, rest, route, tcp};
use crate::{gateway::Gateway, talk::Talk};

const UNRECOGNIZED_NAME: &[u8] = &[21, 3, 3, 0, 2, 2, 112];
const DECODE_ERROR: &[u8] = &[21, 3, 3, 0, 2, 2, 50];

#[test]
fn exact_beats_wildcard_and_a_wildcard_is_one_label() {
    let gateway = Gateway::start();
    let (exact, wild) = (TlsOrigin::echo(&["a.b.test"]), TlsOrigin::echo(&["*.b.test"]));
    route(&gateway, "a.b.test", "passthrough", &[&format!("tls://{}", exact.address)], &[]);
    route(&gateway, "*.b.test", "passthrough", &[&format!("tls://{}", wild.address)], &[]);
    let address = gateway.address("inbound_tls");
    assert_eq!(certificate(&exact.client().connect(address, "a.b.test")), exact.certificate);
    assert_eq!(certificate(&wild.client().connect(address, "c.b.test")), wild.certificate);
    let (before, after) = (exact.accepted() + wild.accepted(), || exact.accepted() + wild.accepted());
    for name in ["x.y.b.test", "b.test", "evila.b.test.example", "xb.test"] {
        let mut client = tcp(address);
        client.write_all(&Client::of(&gateway).hello(name)).unwrap();
        assert_eq!(rest(&mut client), UNRECOGNIZED_NAME, "{name}");
    }
    assert_eq!(before, after());
}

#[test]
fn what_has_no_clear_name_reaches_no_origin_and_gets_the_alert_for_it() {
    let gateway = Gateway::start();
    let origin = TlsOrigin::echo(&["a.test"]);
    let url = format!("tls://{}", origin.address);
    route(&gateway, "a.test", "passthrough", &[&url], &[]);
    route(&gateway, "t.test", "terminate", &["http://127.0.0.1:9"], &[]);
    let hello = Client::of(&gateway).hello("a.test");
    let renamed = |to: &[u8]| {
        let at = crate::target::find(&hello, b"a.test").unwrap();
        let mut hello = hello.clone();
        hello[at..at + to.len()].copy_from_slice(to);
        hello
    };
    let cut = [&hello[..5], &hello[5..60], &[0; 400][..]].concat();
    for (what, bytes, answer) in [
        ("an address", Client::of(&gateway).hello("127.0.0.1"), UNRECOGNIZED_NAME),
        ("another name", renamed(b"b.test"), UNRECOGNIZED_NAME),
        ("a dot at the end", renamed(b"a.tes."), UNRECOGNIZED_NAME),
        ("a NUL", renamed(b"a.tes\0"), UNRECOGNIZED_NAME),
        ("bytes beyond ASCII", renamed("a.téx".as_bytes()), UNRECOGNIZED_NAME),
        ("plain HTTP", b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n".to_vec(), DECODE_ERROR),
        ("a PROXY header nobody agreed on", [b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n", &*hello].concat(), DECODE_ERROR),
        ("an alert first", [&[21, 3, 1, 0, 2, 1, 0], &*hello].concat(), DECODE_ERROR),
        ("a ChangeCipherSpec first", [&[20, 3, 1, 0, 1, 1], &*hello].concat(), DECODE_ERROR),
        ("a hello whose lengths do not add up", cut, DECODE_ERROR),
        ("SSL 2", vec![0x80, 0x2e, 1, 0, 2, 0, 0x15, 0, 0, 0, 0x10], DECODE_ERROR),
    ] {
        let mut client = tcp(gateway.address("inbound_tls"));
        client.write_all(&bytes).unwrap();
        assert_eq!(rest(&mut client), answer, "{what}");
    }
    assert_eq!(origin.accepted(), 0);
}

#[test]
fn a_hello_that_never_ends_is_closed_at_64_kib() {
    let gateway = Gateway::start();
    // A handshake message that announces 16 MiB, in records of 16 KiB.
    let mut client = tcp(gateway.address("inbound_tls"));
    let mut first = vec![22, 3, 1, 0x40, 0, 1, 0xff, 0xff, 0xff, 3, 3];
    first.resize(5 + 0x4000, 0);
    client.write_all(&first).unwrap();
    let record = [&[22, 3, 1, 0x40, 0][..], &[0; 0x4000]].concat();
    let answered = (0..8).find(|_| client.write_all(&record).is_err());
    let end = rest(&mut client);
    assert!(answered.is_some() || end == DECODE_ERROR || end.is_empty(), "{end:?}");
    let flow = gateway.wait_flow(|flow| flow["listener"] == "inbound_tls");
    assert!(["malformed", "head_too_long"].contains(&flow["outcome"].as_str().unwrap()), "{flow}");
}

#[test]
fn over_plain_http_a_route_answers_as_its_mode_says() {
    let gateway = Gateway::start();
    let port = gateway.address("inbound_tls").port();
    route(&gateway, "t.test", "terminate", &["http://127.0.0.1:9"], &[]);
    route(&gateway, "p.test", "passthrough", &["tls://127.0.0.1:9"], &[]);
    for (host, status, location) in [
        ("t.test", 308, Some("https://t.test/a?b=1".into())),
        ("P.test:80", 308, Some("https://p.test/a?b=1".into())),
        ("t.test:8080", 308, Some(format!("https://t.test:{port}/a?b=1"))),
        ("p.test:8080", 308, Some(format!("https://p.test:{port}/a?b=1"))),
        ("unknown.test", 421, None),
        ("127.0.0.1", 421, None),
        ("t.test.", 400, None),
    ] {
        let mut talk = Talk::to(gateway.address("inbound_http"));
        talk.send(format!("GET /a?b=1 HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        let reply = talk.reply();
        assert_eq!(reply.status, status, "{host}: {}", reply.body);
        assert_eq!(reply.field("location").map(str::to_owned), location, "{host}");
        assert_eq!(reply.field("proxy-status").is_some(), location.is_none());
        if let Some(location) = location {
            let flow = gateway
                .wait_flow(|flow| flow["target"].as_str().is_some_and(|target| target.eq_ignore_ascii_case(host)));
            let why = gateway.cli(&["why", flow["id"].as_str().unwrap()]);
            assert!(why.contains("would now be answered by the gateway itself: 308 to https"), "{location}: {why}");
        }
    }
}

#[test]
fn what_a_refused_client_showed_is_said_and_no_more() {
    let gateway = Gateway::start();
    route(&gateway, "t.test", "terminate", &["http://127.0.0.1:9"], &[]);
    // No route: its name was in the clear, and went nowhere.
    let mut client = tcp(gateway.address("inbound_tls"));
    client.write_all(&Client::of(&gateway).hello("unknown.test")).unwrap();
    rest(&mut client);
    // A head that can't be read: TLS had shown the name.
    let mut client = Client::of(&gateway).connect(gateway.address("inbound_tls"), "t.test");
    assert_eq!(ask(&mut client, "GET / HTTP/1.1\r\nHost : t.test\r\n\r\n").status, 400);
    // A host with a username, in whichever form.
    for host in ["Host: other@t.test\r\n", "Host: t.test\r\n"] {
        let mut client = Client::of(&gateway).connect(gateway.address("inbound_tls"), "t.test");
        let refused = ask(&mut client, format!("GET https://other@t.test/ HTTP/1.1\r\n{host}\r\n"));
        assert_eq!(refused.status, 400, "{host}: {}", refused.body);
    }
    for target in ["unknown.test", "t.test"] {
        let flow = gateway.wait_flow(|flow| flow["target"] == target);
        let exposure = &flow["exposure"];
        assert_eq!(exposure["wire_to_gateway"]["name"], true, "{flow}");
        assert_eq!(exposure["wire_to_gateway"]["headers"], false, "{flow}");
        assert_eq!(exposure["wire_to_target"]["name"], false, "nothing was dialled: {flow}");
    }
}
